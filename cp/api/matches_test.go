package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
	"koguma/policy"
)

// A policy and a Dataplane belong together if that one, of all policies, decides about an inbound.
func TestMatches(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, service := range map[string]string{"all": "*", "web": "web", "idle": "nobody"} {
		s.mustPut("/meshes/default/traffic-permissions/"+name, strings.NewReplacer(`"p"`, `"`+name+`"`, "backend", service).Replace(cptest.Permission))
	}
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	s.mustPut("/meshes/default/dataplanes/web-2", dataplaneJSON("web-2", "web"))
	s.mustPut("/meshes/default/dataplanes/db-1", dataplaneJSON("db-1", "db"))
	for path, want := range map[string]string{
		"all":  "db-1",
		"web":  "web-1 web-2",
		"idle": "",
	} {
		var got struct {
			Total int
			Items []policy.Meta
		}
		s.getJSON("/meshes/default/traffic-permissions/"+path+"/_resources/dataplanes", &got)
		var names []string
		for _, m := range got.Items {
			names = append(names, m.Name)
		}
		if strings.Join(names, " ") != want || got.Total != len(names) {
			t.Errorf("%s: %+v, want %s", path, got, want)
		}
	}
	s.get("/meshes/default/traffic-permissions/nope/_resources/dataplanes").WantProblem(t, 404, "not found")

	var got policy.MatchedPolicies[policy.Meta]
	s.getJSON(webPath+"/policies", &got)
	for i := range got.Items {
		for _, ps := range got.Items[i].MatchedPolicies {
			for j := range ps {
				ps[j] = policy.Meta{Name: ps[j].Name}
			}
		}
	}
	want := policy.MatchedPolicies[policy.Meta]{Total: 1, Kind: "SidecarDataplane", Items: []policy.MatchedInbound[policy.Meta]{{
		Type: "inbound", Name: "192.168.0.1:8080:80", Service: "web",
		MatchedPolicies: map[policy.Type][]policy.Meta{policy.TypeTrafficPermission: {{Name: "web"}}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// a MeshTrafficPermission takes the place of those others
	s.mustPut("/meshes/default/meshtrafficpermissions/m", `{"type":"MeshTrafficPermission","mesh":"default","name":"m","spec":{`+
		`"targetRef":{"kind":"MeshService","name":"web"},"from":[{"targetRef":{"kind":"Mesh"},"default":{"action":"Allow"}}]}}`)
	for path, total := range map[string]int{"traffic-permissions/web": 0, "traffic-permissions/all": 1, "meshtrafficpermissions/m": 2} {
		var got struct{ Total int }
		if s.getJSON("/meshes/default/"+path+"/_resources/dataplanes", &got); got.Total != total {
			t.Errorf("%s: %d proxies, want %d", path, got.Total, total)
		}
	}
	s.get("/meshes/default/dataplanes/nope/policies").WantProblem(t, 404, "not found")
}
