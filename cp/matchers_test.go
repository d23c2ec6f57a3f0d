package cp_test

import (
	"strings"
	"testing"

	"koguma/cp/cptest"
	"koguma/token"
	"koguma/xds"
)

// Where permissions come to more than a proxy is given all the same, as with a Dataplane that came later, its proxy keeps what it
// has, and it is said why. Others are not concerned.
func TestMatchersAreNotGiven(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.put("/meshes/default/meshtrafficpermissions/allow", cptest.TagEdict("allow", "", 100, 0))
	p.put("/meshes/default/meshtrafficpermissions/deny", cptest.TagEdict("deny", "backend", 0, 100))
	p.join("web-1", brought(dataplane("web-1", "web")))
	p.apply("backend-1", dataplane("backend-1", "backend"))
	backend := p.open(p.conn, "sotw", sign(t, token.Claims{Mesh: "default"}))
	backend.askAs(node(t, "default.backend-1", nil), xds.TypeCluster)
	p.eventually("the reason", func() bool {
		s, _ := p.subscription("backend-1")
		return strings.Contains(s.Status.LastRejection, "MeshTrafficPermissions deny, allow have")
	})
	p.delete("/meshes/default/meshtrafficpermissions/deny")
	backend.expect(xds.TypeCluster)
}
