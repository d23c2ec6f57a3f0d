package cp_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"koguma/cp"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// serve has a proxy join that takes all that it is given, until the test ends. It asks for the endpoints of these services.
func (p *plane) serve(name, services, id string, csr map[string]any, outbounds ...string) {
	p.t.Helper()
	data := brought(dataplane(name, services, outbounds...))
	for k, v := range csr {
		data[k] = v
	}
	s := p.open(p.conn, "sotw", sign(p.t, token.Claims{Mesh: "default", ID: id}))
	s.askAs(node(p.t, "default."+name, data), xds.TypeCluster)
	s.ask(xds.TypeListener)
	s.ask(xds.TypeSecret, identity, trust)
	if len(outbounds) > 0 {
		s.ask(xds.TypeEndpoint, outbounds...)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			u, err := s.ads.recv()
			if err != nil {
				return
			}
			names := s.names[u.typ]
			if s.ads.send(ask{typ: u.typ, names: names, before: names, answer: u}) != nil {
				return
			}
		}
	}()
	p.t.Cleanup(func() { s.cancel(); <-ended })
}

// inTwo is a mesh under mTLS with backend-1, an Envoy without an agent, at one control plane, and web-1, which dials it, at the
// other.
func inTwo(t *testing.T) (f *planes, a, b *member) {
	t.Helper()
	f = newPlanes(t)
	a, b = f.boot(), f.boot()
	a.makeReady()
	b.makeReady()
	a.mtls("1h")
	a.permit("all", "backend", "web")
	a.hears(1)
	b.hears(1)
	a.serve("backend-1", "backend", "token-a", nil)
	b.serve("web-1", "web", "token-b", csrOf(t, newSigner(t)), "backend")
	return f, a, b
}

// delivered is how far the proxies are, as a control plane says.
func (p *plane) delivered(version string) (d policy.Delivery) {
	p.t.Helper()
	if err := policy.Decode([]byte(p.rest("GET", "/meshes/default/_delivery?version="+version, "")), &d); err != nil {
		p.t.Fatal(err)
	}
	return d
}

// Whichever control plane is asked answers for the proxies of all.
func TestFleetAnswersForAll(t *testing.T) {
	t.Parallel()
	_, a, b := inTwo(t)
	for _, m := range []*member{a, b} {
		m.eventually("the connection to be allowed", func() bool {
			c := m.connection("from=web&to=backend")
			return c.Verdict == policy.Allowed && len(c.Notes) == 0
		})
		version := m.get("/meshes/default/traffic-permissions/all").Header.Get("Koguma-Version")
		m.eventually("all to be delivered", func() bool {
			d := m.delivered(version)
			return d.Proxies == 2 && len(d.Pending) == 0 && len(d.Absent) == 0
		})
		if d := m.delivered("1000000"); len(d.Pending) != 2 {
			t.Errorf("of a version to come: %+v", d)
		}
		for name, at := range map[string]*member{"backend-1": a, "web-1": b} {
			if s, c := m.subscription(name); s.ControlPlaneInstanceID != at.id || !s.DisconnectTime.IsZero() || c == nil {
				t.Errorf("%s is seen as %+v, %+v", name, s, c)
			}
			if id := m.whoami(name, nil); id.ControlPlane.InstanceID != at.id || len(id.Certificates) != 1 || len(id.Roots) != 1 || id.Token == nil {
				t.Errorf("%s is %+v", name, id)
			}
		}
		got := m.get("/meshes/default/dataplanes/_overview")
		if warning := got.Header.Get("Koguma-Warning"); warning != "" || strings.Count(got.Body, `"connectTime"`) != 2 {
			t.Errorf("the overview warns %q and is %s", warning, got.Body)
		}
		for _, path := range []string{"/global-insight", "/mesh-insights", "/mesh-insights/default", "/meshes/default/service-insights"} {
			if text := m.rest("GET", path, ""); !strings.Contains(text, `"online":`) || strings.Contains(text, `"offline":1`) {
				t.Errorf("%s is %s", path, text)
			}
		}
		if text := m.rest("GET", "/meshes/default/dataplane-tokens", ""); strings.Count(text, `"admitted":true`) != 2 || !strings.Contains(text, `"token-a"`) || !strings.Contains(text, `"token-b"`) {
			t.Errorf("the tokens are %s", text)
		}
	}
}

// Of a control plane that does not answer it is said that nobody knows how its proxies are.
func TestFleetSaysWhoIsSilent(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.makeReady()
	b.hears(1)
	b.apply("web-1", dataplane("web-1", "web"))
	a.crash()
	want := "control plane " + a.addrs.InterCP.String() + " does not answer"
	b.eventually("it to be missed", func() bool { return b.unheard() == 1 })
	for what, text := range map[string]string{
		"the overview":   b.get("/meshes/default/dataplanes/_overview").Header.Get("Koguma-Warning"),
		"a proxy":        b.get("/meshes/default/dataplanes/web-1/_overview").Header.Get("Koguma-Warning"),
		"its identity":   b.get("/meshes/default/dataplanes/web-1/_identity").Header.Get("Koguma-Warning"),
		"mTLS":           b.get("/meshes/default/_mtls").Header.Get("Koguma-Warning"),
		"the tokens":     b.get("/meshes/default/dataplane-tokens").Header.Get("Koguma-Warning"),
		"a connection":   fmt.Sprint(b.connection("from=web&to=web").Notes),
		"who lacks what": fmt.Sprint(b.delivered("1").Pending),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: it says %q, want %q", what, text, want)
		}
	}
	b.hears(0)
	if d := b.delivered("1"); len(d.Pending) != 0 {
		t.Errorf("after its lease has lapsed: %+v", d)
	}
}

// No control plane tells another a private key.
func TestFleetTellsNoKeys(t *testing.T) {
	t.Parallel()
	f, a, _ := inTwo(t)
	ca, err := registry.LoadCPAuthority(t.Context(), f.store)
	if err != nil {
		t.Fatal(err)
	}
	a.eventually("the certificate to be there", func() bool { return len(a.whoami("backend-1", nil).Certificates) == 1 })
	if origin := a.whoami("backend-1", nil).Certificates[0].KeyOrigin; origin != policy.KeyOfControlPlane {
		t.Fatalf("the key is that of %s, want one that the control plane made", origin)
	}
	var all bytes.Buffer
	for _, about := range []string{"insight", "identity", "token", "delivery", "standing"} {
		text := askAccounts(t, a, cp.PeerTLS("me", ca), `{"mesh":"default","about":"`+about+`"}`)
		if !strings.Contains(text, "backend-1") {
			t.Errorf("about %s it says %s", about, text)
		}
		all.WriteString(text)
		for _, part := range regexp.MustCompile(`[A-Za-z0-9+/]{40,}=*`).FindAllString(text, -1) {
			decoded, _ := base64.StdEncoding.DecodeString(part)
			all.Write(decoded)
		}
	}
	if text := all.String(); !strings.Contains(text, "BEGIN CERTIFICATE") || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("a private key is among what it tells, or no certificate: %q", text)
	}
}
