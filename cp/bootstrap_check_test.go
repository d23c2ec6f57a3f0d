package cp_test

import (
	"testing"

	"koguma/token"
)

// POST /bootstrap judges as a stream would be, the constraints of the mesh included, names the check that failed, and neither
// keeps anything nor takes the place of a proxy that is connected.
func TestBootstrapJudges(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.put("/meshes/default", meshWithout("env=dev"))
	live := p.join("web-1", brought(dataplane("web-1", "web")))
	before := p.contents()
	all := sign(t, token.Claims{Mesh: "default"})
	web := sign(t, token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	for _, c := range []struct {
		name, token, dataplane string
		status                 int
		check                  string
	}{
		{"the proxy that is connected", web, dataplane("web-1", "web"), 200, ""},
		{"one that may not be in the mesh", all, withTag(dataplane("web-1", "web"), "env", "dev"), 403, "membership"},
		{"another service", web, dataplane("web-1", "api"), 403, "tags"},
		{"another mesh", sign(t, token.Claims{Mesh: "m"}), dataplane("web-1", "web"), 403, "mesh"},
		{"no such key", jwt(t, `{"alg":"RS256","kid":"9"}`, goodClaims()), dataplane("web-1", "web"), 401, "key"},
		{"no token", "", dataplane("web-1", "web"), 422, "invalid"},
	} {
		got := p.askBootstrap("", map[string]any{
			"mesh": "default", "name": "web-1", "workdir": "/", "dataplaneToken": c.token, "dataplaneResource": c.dataplane,
		})
		if check := got.Header.Get("Koguma-Check"); got.Status != c.status || check != c.check {
			t.Errorf("%s: %d, check %q, %s; want %d, check %q", c.name, got.Status, check, got.Body, c.status, c.check)
		}
	}
	if after := p.contents(); after != before {
		t.Errorf("the store has changed from %s to %s", before, after)
	}
	if n := p.metric("koguma_sessions"); n != 1 {
		t.Errorf("%v sessions", n)
	}
	live.leave()
}
