package gui_test

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/gui"
)

func keys(m message) []string { return slices.Sorted(maps.Keys(m.Parts)) }

// A page is sent all there is at first, and then within a second what has changed, and nothing else.
func TestPageIsSentChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p, close := open(t, newServer(w), true)
		defer close()
		synctest.Wait()
		all := p.heard()
		want := []string{"mesh", "meshes", "proxy:backend-1", "proxy:web-1", "refusals", "row:backend", "row:web", "services", "trust"}
		if len(all) != 1 || !all[0].Whole || !cmp.Equal(keys(all[0]), want) {
			t.Fatalf("at first: %v", all)
		}
		if row := string(all[0].Parts["row:web"]); row != `"dd"` {
			t.Errorf("web reaches %s", row)
		}
		for _, c := range []struct {
			what   string
			change func(*gui.State)
			want   map[string]string
		}{
			{"a permission", func(s *gui.State) { s.Traffic = append(s.Traffic, permission("web", "backend", 20)) },
				map[string]string{"mesh": `{"name":"default","exists":true,"mode":"STRICT","ca":"ca-1","rules":1}`, "row:web": `"ad"`}},
			{"a proxy that has gone", func(s *gui.State) { s.Proxies, s.Dataplanes = s.Proxies[:1], s.Dataplanes[:1] },
				map[string]string{"proxy:backend-1": "null", "row:backend": "null", "row:web": `"d"`, "services": `["web"]`}},
		} {
			w.change(c.change)
			time.Sleep(time.Second)
			synctest.Wait()
			events := p.heard()
			if len(events) != 1 || events[0].Whole {
				t.Fatalf("after %s: %v", c.what, events)
			}
			got := map[string]string{}
			for key, data := range events[0].Parts {
				got[key] = string(data)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("after %s: %s", c.what, diff)
			}
		}
	})
}

// Where nothing changes, a page hears that it still hears, and no more.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p, close := open(t, newServer(w), false)
		defer close()
		time.Sleep(time.Minute + time.Second)
		events := p.heard()
		if n := len(events); n < 8 || n > 13 {
			t.Errorf("%d events in a minute", n)
		}
		for i, e := range events {
			if i > 0 && (e.Whole || len(e.Parts) > 0 || e.Now.Sub(events[i-1].Now) > 8*time.Second) {
				t.Errorf("event %d, %v after the one before: %v", i, e.Now.Sub(events[i-1].Now), e)
			}
		}
	})
}

// However many pages are open, there is one look for all of them, a tenth of the time at most, and none when they are closed.
func TestLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := newServer(w)
		w.takes = 100 * time.Millisecond
		var closes []func()
		for range gui.MaxStreams {
			_, close := open(t, s, false)
			closes = append(closes, close)
		}
		if _, err := s.Open("", false); !errors.Is(err, gui.ErrTooMany) {
			t.Errorf("one page too many: %v", err)
		}
		_, close := open(t, s, true) // whom the others do not keep out
		closes = append(closes, close)
		time.Sleep(10*time.Second + 50*time.Millisecond)
		if n := w.looked(); n < 9 || n > 11 {
			t.Errorf("%d looks in ten seconds, each of which takes a tenth of one", n)
		}
		for _, close := range closes {
			close()
		}
		if n := gui.Views(s); n != 0 {
			t.Errorf("%d meshes are kept that nobody looks at", n)
		}
		before := w.looked()
		time.Sleep(time.Hour)
		if n := w.looked(); n != before {
			t.Errorf("%d looks when nobody looked", n-before)
		}
		if _, close := open(t, s, false); close != nil {
			close()
		}
	})
}

// What was refused is for administrators.
func TestRefusalsAreForAdministrators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := newServer(w)
		admin, close := open(t, s, true)
		defer close()
		other, closeOther := open(t, s, false)
		defer closeOther()
		for range 2 {
			time.Sleep(time.Second)
			if e := admin.heard(); len(e) != 1 || !e[0].Admin || e[0].Parts["refusals"] == nil {
				t.Errorf("the administrator is sent %v", e)
			}
			for _, e := range other.heard() {
				if e.Admin || e.Parts["refusals"] != nil {
					t.Errorf("another is sent %v", e)
				}
			}
			w.change(func(s *gui.State) { s.Refusals = append([]gui.Refusal{{Node: "default.other"}}, s.Refusals...) })
		}
	})
}

// A stream ends when what it shows cannot be had, and after a while by itself, so that the page has to ask again.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, c := range []struct {
			err  error
			ends time.Duration
		}{{nil, 10 * time.Minute}, {errors.New("no store"), 0}} {
			w.change(func(*gui.State) { w.err = c.err })
			stream, err := newServer(w).Open("", false)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			stream.Serve(&page{ResponseWriter: httptest.NewRecorder()}, httptest.NewRequest("GET", "/gui/events", nil))
			if d := time.Since(begin); d != c.ends {
				t.Errorf("with %v it ended after %v, want %v", c.err, d, c.ends)
			}
		}
	})
}

// The limits of a server for requests and answers do not end a stream, and the end of the server does.
func TestStreamOutlivesLimits(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := newServer(w)
	ended := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer close(ended)
		stream, err := s.Open(r.URL.Query().Get("mesh"), true)
		if err != nil {
			t.Error(err)
			return
		}
		stream.Serve(rw, r)
	}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("it is %s", got)
	}
	lines := bufio.NewScanner(answer.Body)
	begin := time.Now()
	for n := range 4 {
		time.Sleep(100 * time.Millisecond)
		w.change(func(s *gui.State) { s.Meshes = append(slices.Clone(s.Meshes), strings.Repeat("m", n+1)) })
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "data: ") || !lines.Scan() {
			t.Fatalf("it has ended after %v: %v", time.Since(begin), lines.Err())
		}
	}
	server.Config.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on after the end of its server")
	}
}

// Who asks for the head of a stream gets that.
func TestHeadOfStream(t *testing.T) {
	t.Parallel()
	stream, err := newServer(newWorld()).Open("", false)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	stream.Serve(w, httptest.NewRequest("HEAD", "/gui/events", nil))
	if w.Code != http.StatusOK || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
