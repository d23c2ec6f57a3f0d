package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/xds"
)

// inFleetRotation runs a test with two control planes, with a proxy at each that has a certificate of ca-1.
func inFleetRotation(t *testing.T, test func(t *testing.T, f *fleet, web, api *puppet)) {
	t.Helper()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.enable("ca-1")
		f.put(cptest.Secret(policy.RevocationsName("default"), []byte("stolen")))
		f.rest()
		web, api := f.all[0].puppet("web-1"), f.all[1].puppet("api-1")
		web.take().ack()
		api.take().ack()
		test(t, f, web, api)
		web.session.Close(true)
		api.session.Close(true)
	})
}

// each checks something at all control planes.
func (f *fleet) each(check func(w *world)) {
	f.t.Helper()
	for _, w := range f.all {
		check(w)
	}
}

// move has a proxy come to another control plane, with what its Envoy has.
func (p *puppet) move(to *world) {
	p.session.Close(false)
	p.world = to
	p.join()
}

// Each stage waits for the proxies of all control planes, at each of them; it is taken once, and by nobody before its time.
func TestRotationAcrossControlPlanes(t *testing.T) {
	t.Parallel()
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		f.enable("ca-2", "ca-1")
		for i, s := range stages[:3] {
			time.Sleep(5 * time.Minute)
			web.take().ack()
			f.each(func(w *world) {
				w.stands(s.stands)
				w.waits("api-1: " + []string{"it has not taken the roots of ca-2 yet", "it may still use a certificate of ca-1", "it may still trust"}[i])
			})
			api.take().ack()
			f.each(func(w *world) { w.stands(stages[i+1].stands) })
		}
		f.each(func(w *world) { w.waits() })
		if got := web.signedBy() + api.signedBy(); got != "ca-2ca-2" {
			t.Errorf("the certificates are of %s", got)
		}
		log := f.log.String()
		if strings.Count(log, "trust of the mesh") != 5 || strings.Contains(log, "ERROR") || strings.Contains(log, "WARN") {
			t.Errorf("the log has %s", log)
		}
	})
}

// A control plane that does not answer, or that has not come to the newest trust, is waited for and named. One that is lost is
// not, but its proxies are, until they are back or have no certificate any more.
func TestRotationWithoutAControlPlane(t *testing.T) {
	t.Parallel()
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		a, b := f.all[0], f.all[1]
		f.hangUp(b)
		a.enable("ca-2", "ca-1")
		web.take().ack()
		a.stands(stages[0].stands)
		a.waits(": control plane b:5683 has not offered its proxies the newest configuration yet", "api-1: ")
		f.cut(b)
		api.take().ack()
		time.Sleep(5 * time.Minute)
		a.stands(stages[0].stands)
		a.waits(": control plane b:5683 does not answer (since 2000-01-01 0", "api-1: it has not taken the roots")
		b.waits(": control plane a:5683 does not answer (since 2000-01-01 0", "web-1: it has not taken the roots")
		f.mend(b)
		f.rest()
		f.each(func(w *world) { w.stands(stages[1].stands) })

		f.cut(b)
		web.take().ack()
		api.take().ack()
		f.rest()
		a.stands(stages[1].stands)
		a.waits(": control plane b:5683 does not answer", "api-1: it may still use")
		api.session.Close(false)
		f.lose(b)
		f.rest()
		a.stands(stages[1].stands)
		a.waits("api-1: not connected since 2000-01-01 0")
		api.world = a
		api.join()
		api.take().ack()
		a.stands(stages[2].stands)
	})
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		f.lose(f.all[1])
		a := f.all[0]
		a.enable("ca-2", "ca-1")
		web.take().ack()
		a.stands(stages[0].stands)
		a.waits("api-1: not connected since 2000-01-01 0")
		time.Sleep(time.Hour)
		web.take().ack()
		web.take().ack()
		a.stands(stages[3].stands)
	})
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		api.session.Close(true)
		f.stop(f.all[1])
		f.lose(f.all[1])
		f.rest()
		f.enable("ca-2", "ca-1")
		for range 3 {
			web.take().ack()
		}
		f.stands(stages[3].stands) // it is not waited for, as it left in good order
	})
}

// What a proxy has taken at one control plane holds at the next one, and what it has at the next one, at the first.
func TestRotationOfAProxyThatMoves(t *testing.T) {
	t.Parallel()
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		a, b := f.all[0], f.all[1]
		f.enable("ca-2", "ca-1")
		trusts := func(when string) {
			t.Helper()
			f.rest()
			f.each(func(w *world) { w.stands(stages[0].stands); w.waits("api-1: it has not taken the roots") })
			if t.Failed() {
				t.Fatal(when)
			}
		}
		old := web.session
		web.world = b
		web.join()
		old.Close(false)
		web.take().ack()
		web.move(a)
		trusts("what it was here earlier is past")
		web.session.Close(false)
		time.Sleep(time.Second)
		web.world = b
		web.join()
		trusts("it was heard of before it came")
		f.cut(b)
		late := a.puppet("late-1")
		late.take().ack()
		late.move(b)
		f.mend(b)
		trusts("it is heard of when it is there")
		late.session.Close(true)
		time.Sleep(20 * time.Second) // nobody waits for it any more
		api.take().ack()
		f.each(func(w *world) {
			w.stands(stages[1].stands)
			w.waits("api-1: it may still use", "web-1: it may still use")
		})
		web.take().ack()
		api.take().ack()
		f.each(func(w *world) { w.stands(stages[2].stands) })
		web.move(f.all[0])
		web.take().ack()
		api.take().ack()
		f.each(func(w *world) { w.stands(stages[3].stands); w.waits() })
		// Who leaves the second one is not waited for at the first, where it was before.
		left := f.all[0].puppet("left-1")
		left.take().ack()
		left.move(f.all[1])
		left.take().ack()
		left.session.Close(true)
		f.enable("ca-1", "ca-2")
		f.each(func(w *world) { w.stands("trust-both: ca-2 of ca-2 ca-1"); w.waits("api-1: it", "web-1: it") })
	})
}

// While mTLS is turned on and off, the proxies of another control plane count: who dials them waits until they take it, and they
// take it until nobody dials them under it any more.
func TestSwitchingMTLSAcrossControlPlanes(t *testing.T) {
	t.Parallel()
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		key, err := ca.KeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		f.put(cptest.Secret(policy.CACertName("default", "ca-1"), ca.CertPEM()), cptest.Secret(policy.CAKeyName("default", "ca-1"), key))
		web, db := f.all[0].agent("web-1", "1", "db"), f.all[1].agent("db-1", "1", "db")
		expect := func(when string, wantSpeaks, wantTakes bool) {
			t.Helper()
			s, _ := speaks(t, web)
			if _, takes := speaks(t, db); s != wantSpeaks || takes != wantTakes {
				t.Errorf("%s: web speaks mTLS %v and db takes it %v, want %v and %v", when, s, takes, wantSpeaks, wantTakes)
			}
		}
		reports := func() {
			report := `{"inbounds":[{"listener":"inbound:x"}]}`
			db.Observe(xds.Event{Kind: xds.Reported, Node: node(t, "default.db-1", map[string]any{"dataplane.report": report})})
		}
		for i, round := range []string{"first", "again"} {
			f.put(inMode(policy.ModePermissive))
			expect(round+": turned on", false, true)
			time.Sleep(time.Minute)
			expect(round+": db has not taken it", false, true)
			acks(db, xds.TypeListener)
			expect(round+": db has acknowledged it", false, true)
			reports()
			expect(round+": db takes it", true, true)
			acks(web, xds.TypeCluster)

			f.put(inMode(xds.ModeOff))
			expect(round+": turned off", false, true)
			if i == 1 {
				f.cut(f.all[1])
				acks(web, xds.TypeCluster)
				time.Sleep(8 * time.Second)
				expect(round+": web has stopped, and nobody says so", false, true)
				if _, takes := speaks(t, web); !takes {
					t.Error("web does not take mTLS any more, though nobody says whether db has stopped to speak it")
				}
				time.Sleep(2 * time.Second)
				expect(round+": for too long", false, false)
				break
			}
			time.Sleep(5 * time.Second)
			expect(round+": web has not stopped", false, true)
			acks(web, xds.TypeCluster)
			expect(round+": web has just stopped", false, true)
			time.Sleep(2 * time.Second)
			expect(round+": web has stopped", false, false)
			acks(db, xds.TypeListener)
		}
		web.Close(false)
		db.Close(false)
	})
}

// What is to be withdrawn is withdrawn once, although all control planes see to it.
func TestWithdrawalAcrossControlPlanes(t *testing.T) {
	t.Parallel()
	inFleetRotation(t, func(t *testing.T, f *fleet, web, api *puppet) {
		f.thief("stolen-1", 30*time.Minute)
		f.rest()
		r, err := f.store.Get(t.Context(), policy.Key{Type: policy.TypeWithdrawals, Mesh: "default", Name: "default"})
		if err != nil {
			t.Fatal(err)
		}
		if w := r.(*policy.Withdrawals); len(w.Certificates) != 1 || w.Rounds["web"] != 1 {
			t.Errorf("withdrawn: %+v", w)
		}
		if log := f.log.String(); strings.Count(log, "certificate withdrawn") != 1 || strings.Contains(log, "ERROR") {
			t.Error(log)
		}
		for _, p := range []*puppet{web, api} {
			if lists := p.list(); len(lists) != 1 || len(lists[0]) != 1 {
				t.Errorf("%s has the lists %v", p.name, lists)
			}
		}
	})
}
