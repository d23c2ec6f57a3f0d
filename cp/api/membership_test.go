package api_test

import (
	"strings"
	"testing"
)

// A Dataplane that may not be in the mesh is not written, and a mesh that puts some out says whom.
func TestMembershipOfWrites(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default/dataplanes/live", strings.Replace(dataplaneJSON("live", "web"), `"tags":{`, `"tags":{"env":"dev",`, 1))
	r := s.put("/meshes/default", `{"type":"Mesh","name":"default","constraints":{"dataplaneProxy":{"requirements":[{"tags":{"env":"prod"}}]}}}`)
	if r.Status != 200 || !strings.Contains(r.Body, `the constraints of mesh \"default\" put out [\"live\"]`) {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	s.put(webPath, dataplaneJSON("web-1", "web")).WantProblem(t, 409, "networking.inbound[0] fits none of constraints.dataplaneProxy.requirements")
	s.mustPut(webPath, strings.Replace(dataplaneJSON("web-1", "web"), `"tags":{`, `"tags":{"env":"prod",`, 1))
	s.put("/meshes/default", `{"type":"Mesh","name":"default","constraints":{"dataplaneProxy":{"requirements":[{"tags":{}}]}}}`).
		WantProblem(t, 400, "constraints.dataplaneProxy.requirements[0].tags")
}
