package cp_test

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"koguma/xds"
)

// meshWithout is the mesh with mTLS, in which nobody may be with that tag; "" for no such rule.
func meshWithout(tag string) string {
	constraints := ""
	if k, v, ok := strings.Cut(tag, "="); ok {
		constraints = fmt.Sprintf(`"constraints":{"dataplaneProxy":{"restrictions":[{"tags":{%q:%q}}]}},`, k, v)
	}
	return `{"type":"Mesh","name":"default",` + constraints + `"mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`
}

// withTag is a Dataplane all of whose inbounds have one tag more.
func withTag(dataplane, key, value string) string {
	return strings.ReplaceAll(dataplane, `"tags":{`, fmt.Sprintf(`"tags":{%q:%q,`, key, value))
}

// Who may no longer be in the mesh loses its stream, its place among the endpoints and its certificates; it is not let in
// again before it may be, and does not get the same certificate then.
func TestPutOutByConstraints(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	dev := func(name string) map[string]any { return brought(withTag(dataplane(name, "web"), "env", "dev")) }
	key := newSigner(t)
	join := func(have ...string) (*stream, *x509.Certificate, string) {
		t.Helper()
		s := p.join("web-1", dev("web-1"))
		s.askAs(node(t, "default.web-1", csrOf(t, key, have...)), xds.TypeSecret, identity, trust)
		u := s.expect(xds.TypeSecret)
		return s, chain(t, u.secret(t, identity))[0], held(u.secret(t, identity))
	}
	api := p.join("api-1", brought(dataplane("api-1", "api", "web")))
	api.ask(xds.TypeSecret, trust)
	api.expect(xds.TypeSecret)
	web, leaf, mine := join()
	api.ask(xds.TypeEndpoint, "web")
	for api.expect(xds.TypeEndpoint).addresses(t, "web") == "" { // until web-1 listens
	}
	p.put("/meshes/default", meshWithout("env=dev"))
	web.ended(codes.PermissionDenied, "may not be in its mesh", "restrictions[0]: env=dev")
	gone, listedNow := false, false
	for !gone || !listedNow {
		switch u := api.next(); u.typ {
		case xds.TypeEndpoint:
			api.answer(u, "")
			gone = u.addresses(t, "web") == ""
		case xds.TypeSecret:
			api.answer(u, "")
			listedNow = slices.Equal(listed(t, u), serials(leaf))
		default:
			api.answer(u, "")
		}
	}
	again := p.open(p.conn, "sotw", sign(t, claimsFor("default")))
	again.askAs(node(t, "default.web-1", dev("web-1")), xds.TypeCluster)
	again.ended(codes.PermissionDenied, "may not be in its mesh")
	if p.metric(`koguma_refusals_total{check="membership"}`) != 1 || p.metric(`koguma_sessions_closed_total{reason="membership"}`) != 1 {
		t.Error("it is not counted")
	}
	p.put("/meshes/default", meshWithout(""))
	if _, now, _ := join(mine); now.Equal(leaf) {
		t.Error("it has got the certificate again that was withdrawn")
	}
}

// A proxy that may not be in the mesh is let in with other tags, in the place of its old self.
func TestOtherTagsMayCome(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", withTag(dataplane("web-1", "web"), "env", "dev"))
	p.put("/meshes/default", meshWithout("env=dev"))
	out := p.open(p.conn, "sotw", sign(t, claimsFor("default")))
	out.askAs(node(t, "default.web-1", nil), xds.TypeCluster)
	out.ended(codes.PermissionDenied, "may not be in its mesh")
	p.join("web-1", brought(withTag(dataplane("web-1", "web"), "env", "prod")))
}
