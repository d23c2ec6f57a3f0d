package api_test

import (
	"testing"

	"koguma/cp/cptest"
)

// Permissions that come to more than a proxy is given are refused: one by itself, and one that does together with others for an
// inbound that there is, also in a dry run. Nothing is written.
func TestMatchersAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	path := func(name string) string { return "/meshes/default/meshtrafficpermissions/" + name }
	const say = "more than 5000 services and tags at one inbound"
	s.put(path("big"), cptest.TagEdict("big", "", 100, 100)).WantProblem(t, 400, say)

	s.mustPut("/meshes/default/dataplanes/backend-1", dataplaneJSON("backend-1", "backend"))
	s.mustPut(path("allow"), cptest.TagEdict("allow", "", 100, 0))
	s.mustPut(path("elsewhere"), cptest.TagEdict("elsewhere", "nobody", 0, 100))
	s.put(path("deny")+"?dryRun=true", cptest.TagEdict("deny", "backend", 0, 100)).WantProblem(t, 409, "MeshTrafficPermissions deny, allow have")
	s.put(path("deny"), cptest.TagEdict("deny", "backend", 0, 100)).WantProblem(t, 409, say)
	if r := s.get(path("deny")); r.Status != 404 {
		t.Errorf("it is there: %d", r.Status)
	}
	s.mustPut(path("deny"), cptest.TagEdict("deny", "backend", 0, 10))
	s.put(path("deny"), cptest.TagEdict("deny", "backend", 0, 100)).WantProblem(t, 409, say) // its own former self does not count
}
