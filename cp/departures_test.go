package cp_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// delay has Dataplanes stay that long when their proxies have vanished.
func delay(d time.Duration) func(*settings.Config) {
	return func(c *settings.Config) { c.XDSServer.DataplaneDeregistrationDelay = policy.Duration(d) }
}

// A proxy that says goodbye takes the Dataplane along that it brought. One that an operator applied stays, but gets no
// more traffic until its proxy is back.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	p := start(t, delay(time.Hour))
	p.apply("web-1", dataplane("web-1", "web"))
	applied, registered := p.join("web-1", nil), p.join("web-2", brought(dataplane("web-2", "web")))
	api := p.join("api-1", brought(dataplane("api-1", "api", "web")))
	api.ask(xds.TypeEndpoint, "web")
	both, one := address("web-1")+":8080 "+address("web-2")+":8080", address("web-1")+":8080"
	if got := api.expect(xds.TypeEndpoint).addresses(t, "web"); got != both {
		t.Fatalf("endpoints %s, want %s", got, both)
	}
	for _, c := range []struct {
		what string
		do   func()
		want string
	}{
		{"web-2 leaves", registered.leave, one},
		{"web-1 leaves", applied.leave, ""},
		{"web-1 is back", func() { applied = p.join("web-1", nil) }, one},
		{"web-2 is back", func() { registered = p.join("web-2", brought(dataplane("web-2", "web"))) }, both},
	} {
		c.do()
		if got := api.expect(xds.TypeEndpoint).addresses(t, "web"); got != c.want {
			t.Errorf("%s: endpoints %q, want %q", c.what, got, c.want)
		}
		stay := "api-1 web-1"
		if c.want == both {
			stay += " web-2"
		}
		p.eventually(c.what+": only "+stay, func() bool { return p.dataplanes() == stay })
	}
}

// Who applied a Dataplane last decides whether it goes with its proxy. A proxy cannot decide that.
func TestOperatorKeeps(t *testing.T) {
	t.Parallel()
	p := start(t, delay(0))
	p.apply("web-1", dataplane("web-1", "web"))
	label := func(name string) map[string]any {
		return brought(strings.Replace(dataplane(name, "web"), `"mesh"`, `"labels":{"koguma.io/lifetime":"session"},"mesh"`, 1))
	}
	for range 2 {
		p.join("web-1", label("web-1")).leave()
	}
	taken := p.join("web-2", brought(dataplane("web-2", "web")))
	p.apply("web-2", dataplane("web-2", "web"))
	taken.leave()
	p.join("web-3", label("web-3")).leave()
	p.eventually("web-3 to go", func() bool { return p.dataplanes() == "web-1 web-2" })
	p.eventually("all to be gone", func() bool { return p.metric("koguma_sessions") == 0 })
	if names := p.dataplanes(); names != "web-1 web-2" {
		t.Errorf("there are %s", names)
	}
}

// A proxy that vanishes has a while to come back. Then its Dataplane goes, unless an operator applied it.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	const wait = 2 * time.Second
	p := start(t, delay(wait))
	p.apply("web-1", dataplane("web-1", "web"))
	gone, back := p.dial(), p.dial()
	raw := sign(t, token.Claims{Mesh: "default"})
	p.joinBy(gone, "sotw", raw, node(t, "default.web-1", nil))
	p.joinBy(gone, "delta", raw, node(t, "default.web-2", brought(dataplane("web-2", "web"))))
	p.joinBy(back, "sotw", raw, node(t, "default.web-3", brought(dataplane("web-3", "web"))))
	began := time.Now()
	gone.Close()
	back.Close()
	p.eventually("the ends to be seen", func() bool { return p.metric("koguma_sessions") == 0 })
	p.join("web-3", brought(dataplane("web-3", "web")))
	if names := p.dataplanes(); names != "web-1 web-2 web-3" && time.Since(began) < wait {
		t.Errorf("there are %s after %v", names, time.Since(began))
	}
	p.eventually("web-2 to go", func() bool { return p.dataplanes() == "web-1 web-3" })
	if took := time.Since(began); took < wait {
		t.Errorf("gone after %v, want %v", took, wait)
	}
	if s, _ := p.subscription("web-3"); !s.DisconnectTime.IsZero() {
		t.Error("web-3 counts as gone")
	}
}

// A control plane that is started again on its file still knows its proxies, and their tokens and certificates hold.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "koguma.db")
	file := func(c *settings.Config) { c.Store.Type, c.Store.File.Path = settings.StoreFile, path }
	p := start(t, file)
	p.mtls("1h")
	p.apply("web-1", dataplane("web-1", "web"))
	s := p.join("api-1", brought(dataplane("api-1", "api")))
	key := newSigner(t)
	s.askAs(node(t, "default.api-1", csrOf(t, key)), xds.TypeSecret, identity, trust)
	have := held(s.expect(xds.TypeSecret).secret(t, identity))
	p.end()

	p2 := boot(t, file)
	p2.pin = p.pin
	p2.conn = p2.dial()
	if names := p2.dataplanes(); names != "api-1 web-1" {
		t.Errorf("there are %s", names)
	}
	s = p2.join("api-1", brought(dataplane("api-1", "api")))
	s.askAs(node(t, "default.api-1", csrOf(t, key, have)), xds.TypeSecret, identity, trust)
	if held(s.expect(xds.TypeSecret).secret(t, identity)) != have || p2.issued() != 0 {
		t.Errorf("%d certificates were issued after the restart", p2.issued())
	}
}

// After a restart the proxies have a grace to come back in, beside the usual delay; those that do not are forgotten.
func TestGraceAfterRestart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.put(parse(t, dataplane("applied", "web")))
		lost, back := node(t, "default.lost", brought(dataplane("lost", "web"))), node(t, "default.back", brought(dataplane("back", "web")))
		w.session(lost)
		w.session(back)
		// The one that let them in is gone without having run; this is the one after it.
		w.renew()
		stop := w.run()
		defer stop()
		time.Sleep(cp.RestartGrace)
		s := w.session(back)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if names := w.names(); names != "applied back lost" {
			t.Errorf("just before the grace ends there are %s", names)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if names := w.names(); names != "applied back" {
			t.Errorf("after the grace there are %s", names)
		}
		s.Close(false)
		time.Sleep(9 * time.Second)
		s = w.session(back)
		time.Sleep(9 * time.Second)
		s.Close(false)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if names := w.names(); names != "applied back" {
			t.Errorf("within the delay there are %s", names)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if names := w.names(); names != "applied" {
			t.Errorf("in the end there are %s", names)
		}
	})
}

// A proxy that says goodbye and is back at once stays: its Dataplane is not removed behind its back.
func TestBackAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	for i := range 30 {
		s := p.join("web-1", brought(dataplane("web-1", "web")))
		p.permit("p", "web", fmt.Sprintf("api-%d", i)) // another each time, for the last one's deletion may be heard of late
		s.expect(xds.TypeListener)
		p.delete("/meshes/default/traffic-permissions/p")
		s.leave()
	}
}
