package drill_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

// What is lost, cut or late fails a drill, and what is not does not.
func TestReport(t *testing.T) {
	t.Parallel()
	const lost, cut, late = "requests were lost", "long TCP connections were cut", "what was promised within 1s took 2s or more"
	const grown = "steps: 2"
	for name, c := range map[string]struct {
		happens func(p *drill.Proxy, http, echo *testenv.Workload)
		took    time.Duration
		frail   bool // connections may be cut
		never   bool // the counter may not grow
		want    []string
	}{
		"nothing": {happens: func(*drill.Proxy, *testenv.Workload, *testenv.Workload) {}, took: time.Second},
		"late":    {happens: func(*drill.Proxy, *testenv.Workload, *testenv.Workload) {}, took: 2 * time.Second, want: []string{late}},
		"grown":   {happens: func(*drill.Proxy, *testenv.Workload, *testenv.Workload) {}, took: time.Second, never: true, want: []string{grown}},
		"http":    {happens: func(_ *drill.Proxy, http, _ *testenv.Workload) { http.Close() }, want: []string{lost}},
		"tcp":     {happens: func(_ *drill.Proxy, _, echo *testenv.Workload) { echo.Close() }, want: []string{lost, cut}},
		"frail":   {happens: func(_ *drill.Proxy, _, echo *testenv.Workload) { echo.Close() }, frail: true, want: []string{lost}},
		"withdrawn": {happens: func(p *drill.Proxy, http, echo *testenv.Workload) {
			p.Withdrawn = time.Now()
			http.Close()
			echo.Close()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			http, echo := workloads(t)
			p := drill.NewProxy("web", 1, drill.Load{HTTP: 200, Echo: 200, Streams: 2})
			p.Serve(http, echo)
			n := 40
			r := &drill.Record{
				Mesh: &drill.Mesh{Proxies: []*drill.Proxy{p}}, Unbroken: !c.frail, Promises: []drill.Promise{{What: "soon", Within: time.Second}},
				Counters: []drill.Counter{{Head: "steps", Count: func(context.Context) (int, error) { n += 2; return n, nil }, Never: c.never}},
			}
			if _, err := r.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			sends(t, p, 20)
			c.happens(p, http, echo)
			sends(t, p, 20)
			if c.frail || slices.Contains(c.want, cut) {
				awaits(t, "the connections to be cut", func() error {
					if s := p.Streams.Spells(); s[0].Closed.IsZero() || s[1].Closed.IsZero() {
						return fmt.Errorf("%v", s)
					}
					return nil
				})
			}
			if _, err := r.Close(t.Context(), "a phase", map[drill.Event]time.Duration{0: c.took}); err != nil {
				t.Fatal(err)
			}
			var table strings.Builder
			said := fmt.Sprint(r.Report(&table))
			for _, what := range []string{lost, cut, late, grown} {
				want := strings.Contains(strings.Join(c.want, " "), what)
				if strings.Contains(said, what) != want {
					t.Errorf("%q is an error: %v, want %v: %s", what, !want, want, said)
				}
			}
			if !strings.Contains(table.String(), "| 2     |") {
				t.Errorf("the counter grew by 2, and the table is\n%s", table.String())
			}
		})
	}
}

func workloads(t *testing.T) (http, echo *testenv.Workload) {
	t.Helper()
	http, err := testenv.ServeHTTP("backend")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { http.Close() })
	if echo, err = testenv.ServeTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	return http, echo
}

// sends waits until so many more requests of each kind have ended, and the long connections have been opened.
func sends(t *testing.T, p *drill.Proxy, n int) {
	t.Helper()
	http, echo := p.Requests.Sent()+n, p.Echoes.Sent()+n
	awaits(t, "requests to be sent", func() error {
		if p.Requests.Sent() < http || p.Echoes.Sent() < echo || len(p.Streams.Spells()) < p.Sends.Streams {
			return fmt.Errorf("%d and %d", p.Requests.Sent(), p.Echoes.Sent())
		}
		return nil
	})
}

func awaits(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := testenv.Eventually(ctx, what, f); err != nil {
		t.Fatal(err)
	}
}
