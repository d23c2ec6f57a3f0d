package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/cp"
	"koguma/xds"
)

// pendingOf is what a proxy lacks, as one line.
func pendingOf(s xds.Session, version uint64) string {
	var parts []string
	for _, p := range cp.Pending(s, version) {
		parts = append(parts, strings.TrimSpace(p.Type+" "+p.Reason+" "+p.Refusal))
	}
	return strings.Join(parts, "; ")
}

// What a proxy has not ACKed is pending: by type, with its own words where it refused. What another wrote that its view has
// not taken in yet is as well.
func TestPending(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.put(parse(t, dataplane("web-1", "web", "api")))
		s := w.session(node(t, "default.web-1", nil))
		defer s.Close(true)
		w.rest()
		const making = "the control plane is still making its configuration"
		check := func(what string, version uint64, want string) {
			t.Helper()
			s.Snapshot()
			if got := pendingOf(s, version); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		lacks := func(types string) string {
			var all []string
			for _, typ := range strings.Fields(types) {
				all = append(all, typ+" it has not asked for them")
			}
			return strings.Join(all, "; ")
		}
		if got := pendingOf(s, 0); got != making {
			t.Errorf("before it is built: %q", got)
		}
		check("nothing asked", 0, lacks("clusters endpoints listeners"))
		types := []string{xds.TypeCluster, xds.TypeEndpoint, xds.TypeListener}
		sets := func(typ string) string { snapshot, _ := s.Snapshot(); return snapshot.Of(typ).Version() }
		for _, typ := range types {
			s.Observe(xds.Event{Kind: xds.Subscribed, Type: typ})
		}
		waits := "it has not said that it has them"
		check("asked", 0, "clusters "+waits+"; endpoints "+waits+"; listeners "+waits)
		for _, typ := range types {
			s.Observe(xds.Event{Kind: xds.Acked, Type: typ, Version: sets(typ)})
		}
		check("all ACKed", 0, "")
		check("a version that is to come", 1000, making)

		p := parse(t, strings.ReplaceAll(dataplane("web-1", "web", "api"), `"port":8080`, `"port":8081`))
		w.put(p)
		w.rest()
		r, err := w.store.Get(t.Context(), p.Metadata().Key())
		if err != nil {
			t.Fatal(err)
		}
		version := r.Metadata().Version
		check("changed", version, "listeners "+waits)
		s.Observe(xds.Event{Kind: xds.Nacked, Type: xds.TypeListener, Version: sets(xds.TypeListener), Reason: "port 8081 is taken"})
		check("refused", version, "listeners it refused them, and keeps those that it had port 8081 is taken")
		if since := cp.Pending(s, version)[0].Since; time.Since(since) > time.Minute || since.IsZero() {
			t.Errorf("since %v", since)
		}
		s.Observe(xds.Event{Kind: xds.Acked, Type: xds.TypeListener, Version: sets(xds.TypeListener)})
		check("taken after all", version, "")
	})
}

// A certificate that cannot be made is pending, and so is one that is being made.
func TestPendingCertificate(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		if got := pendingOf(web.session, 0); strings.Contains(got, "secrets") {
			t.Errorf("pending: %s", got)
		}
		w.enable("ca-2", "ca-1")
		if got := pendingOf(web.session, 0); !strings.Contains(got, "still making") {
			t.Errorf("pending: %s", got)
		}
		web.take()
		if got := pendingOf(web.session, 0); !strings.Contains(got, "secrets it has not said that it has them") {
			t.Errorf("pending: %s", got)
		}
		web.ack()
		if got := pendingOf(web.session, 0); strings.Contains(got, "secrets") {
			t.Errorf("pending: %s", got)
		}
	})
}
