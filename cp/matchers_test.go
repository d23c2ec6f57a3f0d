package cp_test

import (
	"fmt"
	"strings"
	"testing"

	"koguma/token"
	"koguma/xds"
)

// tagEdict is a MeshTrafficPermission for the inbounds of a service ("" is all) that lets in services and denies tags.
func tagEdict(name, to string, allowed, denied int) string {
	var from []string
	for i := range allowed {
		from = append(from, fmt.Sprintf(`{"targetRef":{"kind":"MeshService","name":"s%d"},"default":{"action":"Allow"}}`, i))
	}
	for i := range denied {
		from = append(from, fmt.Sprintf(`{"targetRef":{"kind":"MeshSubset","tags":{"k":"v%d"}},"default":{"action":"Deny"}}`, i))
	}
	target := `{"kind":"Mesh"}`
	if to != "" {
		target = fmt.Sprintf(`{"kind":"MeshService","name":%q}`, to)
	}
	return fmt.Sprintf(`{"type":"MeshTrafficPermission","mesh":"default","name":%q,"spec":{"targetRef":%s,"from":[%s]}}`,
		name, target, strings.Join(from, ","))
}

// Where permissions come to more than a proxy is given all the same, as with a Dataplane that came later, its proxy keeps what it
// has, and it is said why. Others are not concerned.
func TestMatchersAreNotGiven(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.put("/meshes/default/meshtrafficpermissions/allow", tagEdict("allow", "", 100, 0))
	p.put("/meshes/default/meshtrafficpermissions/deny", tagEdict("deny", "backend", 0, 100))
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
