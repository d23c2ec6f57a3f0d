package cp_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/token"
	"koguma/xds"
)

// withoutAuthentication are the ways to turn authentication off.
func withoutAuthentication() map[string]func(*settings.Config) {
	return map[string]func(*settings.Config){
		"authn":    func(c *settings.Config) { c.DPServer.Authn.DPProxy.Type = settings.AuthnNone },
		"old":      func(c *settings.Config) { c.DPServer.Auth.Type = settings.AuthnNone },
		"very old": func(c *settings.Config) { c.AdminServer.APIs.DataplaneToken.Enabled = false },
	}
}

// Without authentication any proxy is what it says it is: without a token, and whatever a token says that comes along.
// What it brings is still checked.
func TestWithoutAuthentication(t *testing.T) {
	t.Parallel()
	for name, off := range withoutAuthentication() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := boot(t, off).reach()
			p.apply("web-1", dataplane("web-1", "web")) // so that it does not go with its proxy
			for i, tokens := range [][]string{nil, {"nonsense"}, {sign(t, token.Claims{Mesh: "other", Name: "x"})}} {
				s := p.open(p.conn, variants[i%2], tokens...)
				s.askAs(node(t, "default.web-1", brought(dataplane("web-1", "web"))), xds.TypeCluster)
				s.expect(xds.TypeCluster)
				s.leave()
			}
			for id, d := range map[string]string{
				"default.web-2": dataplane("web-1", "web"), "other.web-1": dataplane("web-1", "web"), "default": dataplane("web-1", "web"),
				"default.web-1": strings.Replace(dataplane("web-1", "web"), address("web-1"), "0.0.0.0", 1),
			} {
				s := p.open(p.conn, "sotw")
				s.askAs(node(t, id, brought(d)), xds.TypeCluster)
				if _, err := s.ads.recv(); err == nil {
					t.Errorf("%s came in with %s", id, d)
				}
			}
			for _, r := range []cptest.Response{p.ask(p.addrs.Diagnostics.String() + "/ready"), {Body: p.log.String(), Status: 200}} {
				if r.Status != 200 || !strings.Contains(r.Body, "authentication is off: any proxy") {
					t.Errorf("%d %s", r.Status, r.Body)
				}
			}
		})
	}
	if p := start(t); strings.Contains(p.ask(p.addrs.Diagnostics.String()+"/ready").Body+p.log.String(), "warning") {
		t.Errorf("a warning with authentication: %s", p.log)
	}
}

// ask gets a page.
func (p *plane) ask(hostPath string) cptest.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+hostPath, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return send(p.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
}

// Who came in without a token has certificates, old ones and new ones, and stays whatever becomes of keys and lists.
// Its Dataplane still ends it.
func TestSessionWithoutToken(t *testing.T) {
	t.Parallel()
	p := boot(t, withoutAuthentication()["authn"]).reach()
	p.mtls("1h")
	web := brought(dataplane("web-1", "web"))
	key := newSigner(t)
	join := func(held ...string) (*stream, update) {
		t.Helper()
		s := p.open(p.conn, "sotw")
		s.askAs(node(t, "default.web-1", web), xds.TypeCluster)
		s.expect(xds.TypeCluster)
		s.askAs(node(t, "default.web-1", csrOf(t, key, held...)), xds.TypeSecret, identity, trust)
		return s, s.expect(xds.TypeSecret)
	}
	first, u := join()
	verify(t, u, identity, "spiffe://default/web")
	again, u2 := join(held(u.secret(t, identity)))
	first.ended(codes.AlreadyExists)
	if held(u2.secret(t, identity)) != held(u.secret(t, identity)) {
		t.Error("a certificate was made although the proxy had one")
	}
	const list = "dataplane-token-revocations-default"
	p.put("/meshes/default/secrets/"+list, cptest.SecretJSON(list, []byte(",0,web-1")))
	p.put("/meshes/default/secrets/"+cptest.KeyName(2), cptest.SecretJSON(cptest.KeyName(2), cptest.SigningKey()))
	p.delete("/meshes/default/secrets/" + cptest.KeyName(1))
	p.permit("p", "web", "after-all-that")
	again.ask(xds.TypeListener)
	p.eventually("the permission", func() bool {
		return strings.Contains(fmt.Sprint(again.expect(xds.TypeListener).resources), "after-all-that")
	})
	p.delete("/meshes/default/dataplanes/web-1")
	again.ended(codes.NotFound)
	for reason, want := range map[string]int{"superseded": 1, "dataplane-deleted": 1} {
		p.eventually("the session to be counted", func() bool { return p.metric(`koguma_sessions_closed_total{reason="`+reason+`"}`) == want })
	}
}

// A bootstrap without a token is one that Envoy accepts, and in which there is none.
func TestBootstrapWithoutToken(t *testing.T) {
	t.Parallel()
	p := boot(t, withoutAuthentication()["old"]).reach()
	p.apply("web-1", dataplane("web-1", "web"))
	dir, err := os.MkdirTemp("", "koguma")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, raw := range []string{"", "non sense"} {
		got := p.askBootstrap("", map[string]any{"mesh": "default", "name": "web-1", "workdir": dir, "dataplaneToken": raw})
		if got.Status != 200 || strings.Contains(got.Body, "authorization") || strings.Contains(got.Body, "sense") {
			t.Errorf("%d %s", got.Status, got.Body)
		}
		envoyAccepts(t, []byte(got.Body))
	}
}
