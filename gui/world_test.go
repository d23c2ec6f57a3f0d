package gui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/gui"
	"koguma/policy"
)

// world is a source whose mesh a test changes.
type world struct {
	mu    sync.Mutex
	state gui.State
	err   error
	takes time.Duration // that a look takes
	looks int
}

// Look implements [gui.Source].
func (w *world) Look(context.Context, string) (*gui.State, error) {
	time.Sleep(w.takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	s := w.state
	return &s, w.err
}

func (w *world) change(f func(*gui.State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.state)
}

func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks
}

// newWorld is one with web-1 and backend-1, where nobody may talk to anybody.
func newWorld() *world {
	w := &world{state: gui.State{
		Meshes: []string{"default"}, Name: "default", Mesh: strict(), Refusals: []gui.Refusal{{Node: "default.thief", Reason: "bad token"}},
	}}
	for i, service := range []string{"web", "backend"} {
		w.state.Dataplanes = append(w.state.Dataplanes, dataplane(service, uint64(10+i)))
		w.state.Proxies = append(w.state.Proxies, gui.Proxy{Name: service + "-1", Services: []string{service}, Condition: gui.Online})
	}
	return w
}

func strict() *policy.Mesh {
	return &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default", Version: 1}, MTLS: &policy.MTLS{
		EnabledBackend: "ca-1", Backends: []policy.Backend{{Name: "ca-1", Type: "builtin"}},
	}}
}

func dataplane(service string, version uint64) *policy.Dataplane {
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: service + "-1", Version: version}}
	d.Networking.Inbound = []policy.Inbound{{Port: 80, Tags: map[string]string{policy.TagService: service}}}
	return d
}

func permission(from, to string, version uint64) *policy.TrafficPermission {
	return &policy.TrafficPermission{
		Meta:         policy.Meta{Type: policy.TypeTrafficPermission, Mesh: "default", Name: from + "-to-" + to, Version: version},
		Sources:      []policy.Selector{{Match: map[string]string{policy.TagService: from}}},
		Destinations: []policy.Selector{{Match: map[string]string{policy.TagService: to}}},
	}
}

// page is what is sent to one.
type page struct {
	http.ResponseWriter
	mu     sync.Mutex
	events []message
}

// message is an event as the page reads it.
type message struct {
	Now          time.Time
	Whole, Admin bool
	Parts        map[string]json.RawMessage
}

func (p *page) Write(data []byte) (int, error) {
	var m message
	text, ok := strings.CutPrefix(string(data), "data: ")
	if err := json.Unmarshal([]byte(text), &m); !ok || err != nil || !strings.HasSuffix(text, "}\n\n") || strings.Count(text, "\n") != 2 {
		panic(fmt.Sprintf("no event: %q", data))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, m)
	return len(data), nil
}

// Flush implements [http.Flusher].
func (p *page) Flush() {}

// heard is what has come since it was asked last.
func (p *page) heard() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.events
	p.events = nil
	return events
}

// open opens a page, which end closes.
func open(t *testing.T, s *gui.Server, admin bool) (p *page, end func()) {
	t.Helper()
	stream, err := s.Open("", admin)
	if err != nil {
		t.Fatal(err)
	}
	p = &page{ResponseWriter: httptest.NewRecorder()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		stream.Serve(p, httptest.NewRequest("GET", "/gui/events", nil).WithContext(ctx))
	}()
	return p, func() { cancel(); <-done }
}

func newServer(w *world) *gui.Server { return gui.New(w, slog.New(slog.DiscardHandler)) }
