package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/xds"
)

func inRotation(t *testing.T, test func(t *testing.T, w *world, web, api *puppet)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		stop := w.run()
		defer func() { w.stop() }()
		w.stop = stop
		w.enable("ca-1")
		w.put(cptest.Secret(policy.RevocationsName("default"), []byte("stolen")))
		w.rest()
		web, api := w.puppet("web-1"), w.puppet("api-1")
		web.take().ack()
		api.take().ack()
		test(t, w, web, api)
		web.session.Close(true)
		api.session.Close(true)
	})
}

// restart is another control plane over the same store. Nobody is connected to it.
func (w *world) restart(all ...*puppet) {
	for _, p := range all {
		p.session.Close(false)
	}
	w.stop()
	w.renew()
	w.stop = w.run()
	w.rest()
}

// stages are how to come to each of the stages of a rotation from ca-1 to ca-2.
var stages = []struct {
	stands string
	come   func(w *world, web, api *puppet)
}{
	{"trust-both: ca-1 of ca-1 ca-2", func(w *world, web, api *puppet) { w.enable("ca-2", "ca-1") }},
	{"issue: ca-2 of ca-1 ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
	{"drop: ca-2 of ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
	{"settled: ca-2 of ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
}

// Each stage waits for the ACKs of all, and goes on with the last of them.
func TestRotationWaitsForACKs(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.stands("settled: ca-1 of ca-1")
		w.enable("ca-2", "ca-1")
		for i, s := range stages[:3] {
			w.stands(s.stands)
			time.Sleep(5 * time.Minute)
			w.stands(s.stands) // nobody has been sent anything
			web.take()
			api.take()
			w.rest()
			why := []string{"it has not taken the roots of ca-2 yet", "it may still use a certificate of ca-1", "it may still trust"}[i]
			w.waits("api-1: "+why, "web-1: "+why)
			web.ack()
			w.stands(s.stands)
			w.waits("api-1: ")
			api.ack()
			w.stands(stages[i+1].stands)
		}
		w.waits()
		if got := web.signedBy() + api.signedBy(); got != "ca-2ca-2" {
			t.Errorf("the certificates are of %s", got)
		}
		if log := w.log.String(); strings.Count(log, "trust of the mesh") != 5 || !strings.Contains(log, "before=trust-both after=") {
			t.Errorf("the log has %s", log)
		}
	})
}

// After the last ACK handshakes may still be going on that were begun before: they are let come to their end.
func TestRotationLetsHandshakesEnd(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		for i, s := range stages[:2] {
			if i == 0 {
				w.enable("ca-2", "ca-1")
			}
			for _, p := range []*puppet{web, api} {
				p.take()
				p.session.Observe(xds.Event{Kind: xds.Acked, Type: xds.TypeSecret, Version: p.sent})
			}
			time.Sleep(xds.ConnectTimeout)
			w.stands(s.stands)
			w.waits(": TLS handshakes that were begun before the last ACK")
			w.rest()
			w.stands(stages[i+1].stands)
		}
	})
}

// A control plane that is started again in any stage goes on where it was, and takes nobody's ACK for granted.
func TestRotationAfterRestart(t *testing.T) {
	t.Parallel()
	for last := range 3 {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			for _, s := range stages[:last+1] {
				s.come(w, web, api)
			}
			at := stages[last].stands
			w.stands(at)
			w.restart(web, api)
			time.Sleep(5 * time.Minute)
			w.stands(at)
			w.waits("api-1: not connected since 2000-01-01 ", "web-1: not connected")
			web.join()
			w.rest()
			w.stands(at)
			web.take().ack()
			w.stands(at)
			w.waits("api-1: not connected")
			api.join()
			for range 4 {
				api.take().ack()
				web.take().ack()
			}
			w.stands("settled: ca-2 of ca-2")
		})
	}
}

// A proxy that has brought its certificate along gets a new one when its CA has been replaced and comes back: it would
// refuse the old one, which is older than what it has by then.
func TestRotationThereAndBack(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		before := []string{web.held, api.held}
		w.restart(web, api)
		web.join()
		api.join()
		for _, to := range []string{"ca-1", "ca-2", "ca-1"} {
			w.enable(to, map[string]string{"ca-1": "ca-2", "ca-2": "ca-1"}[to])
			for range 4 {
				web.take().ack()
				api.take().ack()
			}
			w.stands("settled: " + to + " of " + to)
		}
		if web.signedBy()+api.signedBy() != "ca-1ca-1" || web.held == before[0] || api.held == before[1] {
			t.Error("they were sent a certificate from before the rotation")
		}
	})
}

// Until the old CA is dropped there is a way back, by the Mesh alone.
func TestRotationAborted(t *testing.T) {
	t.Parallel()
	for last, want := range []int{0, 1} {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			for _, s := range stages[:last+1] {
				s.come(w, web, api)
			}
			if last == 1 {
				web.take().ack() // has its certificate of ca-2
			}
			if last == 0 {
				web.take().ack() // has both roots
			}
			before := api.held
			w.enable("ca-1", "ca-2")
			if want == 0 {
				w.stands("drop: ca-1 of ca-1")
			} else {
				w.stands("issue: ca-1 of ca-1 ca-2")
			}
			for range 3 {
				web.take().ack()
				api.take().ack()
			}
			w.stands("settled: ca-1 of ca-1")
			if web.signedBy() != "ca-1" || api.held != before {
				t.Errorf("stage %d: web's certificate is of %s, and api's is the same: %v", last, web.signedBy(), api.held == before)
			}
		})
	}
}

// Who refuses the new roots is named with its own words, and nothing goes on.
func TestRotationRefused(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		api.take().ack()
		web.take().session.Observe(xds.Event{Kind: xds.Nacked, Type: xds.TypeSecret, Version: web.sent, Reason: "no room for two"})
		w.rest()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.waits("web-1: it refused its secrets: no room for two")
		if got := cp.Pending(web.session, 1); len(got) == 0 || got[0].Refusal != "no room for two" {
			t.Errorf("pending: %+v", got)
		}
	})
}

// Who is not connected is waited for until it is back, or its certificate has ended, and named with both. Who left in good
// order is not; nor is one who has had its ACK before it vanished.
func TestRotationWithoutSomebody(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		left, gone := w.puppet("left-1"), w.puppet("gone-1")
		left.take().ack()
		// That somebody else applied its Dataplane changes nothing.
		applied := parse(t, dataplane("left-1", "left"))
		w.put(applied)
		left.session.Close(false)
		left.join()
		left.take().ack()
		gone.take().ack()
		left.session.Close(true)
		gone.session.Close(false)
		began := time.Now()
		w.enable("ca-2", "ca-1")
		api.take().ack()
		web.take().ack()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.waits("gone-1: not connected since 2000-01-01 00:0")
		if b := w.core.Trust("default").WaitsFor; len(b) != 1 || b[0].Until.Sub(began) < 50*time.Minute || b[0].Until.Sub(began) > time.Hour ||
			!strings.Contains(b[0].Why, "; its certificate of ca-1 ends 2000-01-01 0") {
			t.Errorf("it waits for %v", b)
		}
		time.Sleep(time.Hour)
		w.stands("drop: ca-2 of ca-2") // the certificates of all have ended
	})
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		web.take().ack()
		web.session.Close(false)
		api.take().ack()
		w.stands("issue: ca-2 of ca-1 ca-2")
		api.take().ack()
		w.waits("web-1: not connected") // it has its old certificate
		web.join()
	})
}

// By force the stage is passed without those that it waits for.
func TestRotationForced(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		web.take().ack()
		for i, s := range stages[:3] {
			w.stands(s.stands)
			passed, err := w.core.Force(t.Context(), "default")
			if err != nil || len(passed) == 0 || passed[0].Proxy != "api-1" {
				t.Errorf("stage %d: passed %v, %v", i, passed, err)
			}
			w.rest()
		}
		w.stands(stages[3].stands)
		if log := w.log.String(); !strings.Contains(log, "forced past") || !strings.Contains(log, "api-1: it") {
			t.Error("the log does not say who was not waited for")
		}
	})
}

// Nothing needs to be waited for where there is nobody.
func TestRotationOfNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.enable("ca-1")
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-2 of ca-2")
		w.enable("ca-3", "ca-2")
		w.stands("settled: ca-3 of ca-3")
	})
}

// While mTLS is off, whom certificates were from is remembered until they have ended: switched on again with another CA,
// the mesh trusts both.
func TestRotationWhileMTLSWasOff(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("", "ca-1", "ca-2")
		w.stands("settled: ca-1 of ca-1")
		w.enable("ca-2", "ca-1")
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.enable("", "ca-1", "ca-2")
		time.Sleep(time.Hour)
		w.stands(":  of ")
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-2 of ca-2")
	})
}

// A backend whose CA has become another is rotated as well: the old one signs while it is remembered, and after a restart
// nobody does until everybody trusts the new one.
func TestRotationInPlace(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			proxyKey := key("new-1")
			ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: 100 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			key, err := ca.KeyPEM()
			if err != nil {
				t.Fatal(err)
			}
			w.put(cptest.Secret(policy.CACertName("default", "ca-1"), ca.CertPEM()))
			if v := w.core.Trust("default"); !strings.Contains(v.Fault, `the CA of backend "ca-1"`) {
				w.rest()
				if v = w.core.Trust("default"); !strings.Contains(v.Fault, `the CA of backend "ca-1"`) {
					t.Errorf("half a CA is said to be %q", v.Fault)
				}
			}
			w.put(cptest.Secret(policy.CAKeyName("default", "ca-1"), key))
			w.rest()
			w.stands("trust-both: ca-1 of ca-1 ca-1")
			if restarted {
				w.restart(web, api)
				web.join()
				api.join()
			}
			fresh := w.puppet("new-1")
			fresh.takeRoots()
			faults := w.core.Insight(proxyKey).Subscriptions[0].Status.LastRejection
			if lost := strings.Contains(faults, "signs until everybody trusts the next, and cannot"); lost != restarted {
				t.Errorf("restarted %v: a new proxy: %q", restarted, faults)
			}
			for range 4 {
				for _, p := range []*puppet{web, api, fresh} {
					p.takeRoots().ack()
				}
			}
			w.stands("settled: ca-1 of ca-1")
			if web.signedBy() != "ca-1" {
				t.Error("it is not signed by the new CA")
			}
			fresh.session.Close(true)
		})
	}
}
