package cp_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/xds"
)

// inMode is the mesh "default" in a mode.
func inMode(mode string) *policy.Mesh {
	m := cptest.Mesh("default")
	if mode != xds.ModeOff {
		m.MTLS = &policy.MTLS{EnabledBackend: "ca-1", Backends: []policy.Backend{{Name: "ca-1", Type: policy.BackendBuiltin, Mode: mode}}}
	}
	return m
}

// speaks reports whether the proxy of a session is to dial db under mTLS, and takes whether it takes mTLS itself.
func speaks(t *testing.T, s xds.Session) (speaks, takes bool) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // what may wait is over
	synctest.Wait()
	snapshot, _ := s.Snapshot()
	if snapshot == nil {
		t.Fatal("no snapshot")
	}
	for _, l := range snapshot.Listeners.All() {
		takes = takes || strings.Contains(string(l.Body), "DownstreamTlsContext")
	}
	return strings.Contains(string(snapshot.Clusters.Get("db").Body), "UpstreamTlsContext"), takes
}

func acks(s xds.Session, typ string) {
	snapshot, _ := s.Snapshot()
	s.Observe(xds.Event{Kind: xds.Acked, Type: typ, Version: snapshot.Of(typ).Version()})
	synctest.Wait()
}

// While mTLS is turned on, nobody dials under mTLS whom he dials does not take it; and while it is turned off, nobody stops
// to take it before the others have stopped to speak it, or have hung for too long.
func TestSwitchingMTLS(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		key, err := ca.KeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		w.put(cptest.Secret(policy.CACertName("default", "ca-1"), ca.CertPEM()), cptest.Secret(policy.CAKeyName("default", "ca-1"), key))
		set := func(mode string) { w.put(inMode(mode)) }
		web := w.session(node(t, "default.web-1", brought(dataplane("web-1", "web", "db"))))
		defer web.Close(true)
		db := w.session(node(t, "default.db-1", brought(dataplane("db-1", "db", "db"))))
		defer db.Close(true)
		expect := func(when string, wantSpeaks, wantTakes bool) {
			t.Helper()
			if s, takes := speaks(t, web); s != wantSpeaks || takes != wantTakes {
				t.Errorf("%s: web speaks mTLS %v and takes it %v, want %v and %v", when, s, takes, wantSpeaks, wantTakes)
			}
		}
		expect("off", false, false)
		set(policy.ModePermissive)
		expect("turned on", false, true)
		report := `{"inbounds":[{"listener":"inbound:x"}]}`
		db.Observe(xds.Event{Kind: xds.Reported, Node: node(t, "default.db-1", map[string]any{"dataplane.report": report})})
		expect("db takes it", true, true)
		acks(web, xds.TypeCluster)

		set(xds.ModeOff)
		expect("turned off", false, true)
		acks(web, xds.TypeCluster)
		expect("web has just stopped", false, true)
		time.Sleep(2 * time.Second)
		expect("web has stopped", false, false)

		set(policy.ModePermissive)
		expect("turned on again", false, true)
		db.Observe(xds.Event{Kind: xds.Reported, Node: node(t, "default.db-1", map[string]any{"dataplane.report": report})})
		expect("db takes it again", true, true)
		acks(web, xds.TypeCluster)
		set(xds.ModeOff)
		time.Sleep(9 * time.Second)
		expect("web hangs", false, true)
		time.Sleep(2 * time.Second)
		expect("web has hung for too long", false, false)

		set(policy.ModeStrict)
		expect("strict at once", true, true)
	})
}
