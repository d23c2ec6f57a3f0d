package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/xds"
)

// A proxy that does not acknowledge what it should have counts as behind after 30 s, and no more once it has. How long it took is
// measured once.
func TestProxiesBehind(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.put(parse(t, dataplane("web-1", "web", "api")))
		s := w.session(node(t, "default.web-1", nil))
		defer s.Close(true)
		w.rest()
		s.Snapshot()
		types := []string{xds.TypeCluster, xds.TypeEndpoint, xds.TypeListener}
		for _, typ := range types {
			s.Observe(xds.Event{Kind: xds.Subscribed, Type: typ})
			s.Observe(xds.Event{Kind: xds.Sent, Type: typ})
		}
		shows := func(when string, lines ...string) {
			t.Helper()
			text := w.core.MetricsText()
			for _, line := range lines {
				if !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("%s: no %q", when, line)
				}
			}
		}
		time.Sleep(29 * time.Second)
		shows("after 29 s", "koguma_proxies_behind 0", `koguma_xds_responses_total{type="listeners"} 1`, `koguma_xds_responses_total{type="secrets"} 0`)
		time.Sleep(time.Second)
		shows("after 30 s", "koguma_proxies_behind 1", "koguma_xds_acknowledged_seconds_count 0")
		snapshot, _ := s.Snapshot()
		for range 2 {
			for _, typ := range types {
				s.Observe(xds.Event{Kind: xds.Acked, Type: typ, Version: snapshot.Of(typ).Version()})
			}
		}
		shows("acknowledged", "koguma_proxies_behind 0", "koguma_xds_acknowledged_seconds_count 3", `koguma_xds_acknowledged_seconds_bucket{le="15"} 0`, `koguma_xds_acknowledged_seconds_bucket{le="60"} 3`)
	})
}
