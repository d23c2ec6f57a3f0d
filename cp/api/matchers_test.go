package api_test

import (
	"fmt"
	"strings"
	"testing"
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

// Permissions that come to more than a proxy is given are refused: one by itself, and one that does together with others for an
// inbound that there is, also in a dry run. Nothing is written.
func TestMatchersAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	path := func(name string) string { return "/meshes/default/meshtrafficpermissions/" + name }
	const say = "more than 5000 services and tags at one inbound"
	s.put(path("big"), tagEdict("big", "", 100, 100)).wantProblem(t, 400, say)

	s.mustPut("/meshes/default/dataplanes/backend-1", dataplaneJSON("backend-1", "backend"))
	s.mustPut(path("allow"), tagEdict("allow", "", 100, 0))
	s.mustPut(path("elsewhere"), tagEdict("elsewhere", "nobody", 0, 100))
	s.put(path("deny")+"?dryRun=true", tagEdict("deny", "backend", 0, 100)).wantProblem(t, 409, "MeshTrafficPermissions deny, allow have")
	s.put(path("deny"), tagEdict("deny", "backend", 0, 100)).wantProblem(t, 409, say)
	if r := s.get(path("deny")); r.status != 404 {
		t.Errorf("it is there: %d", r.status)
	}
	s.mustPut(path("deny"), tagEdict("deny", "backend", 0, 10))
	s.put(path("deny"), tagEdict("deny", "backend", 0, 100)).wantProblem(t, 409, say) // its own former self does not count
}
