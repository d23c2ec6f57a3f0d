package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
	"koguma/policy"
)

// getJSON reads what is at a path into v.
func (s *server) getJSON(path string, v any) {
	s.t.Helper()
	r := s.get(path)
	if err := json.Unmarshal([]byte(r.Body), v); err != nil || r.Status != 200 {
		s.t.Fatalf("GET %s: %d %s", path, r.Status, r.Body)
	}
}

// What there is, is counted by mesh, by service, and in all.
func TestInsights(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2"}`)
	s.mustPut(permissionURL, cptest.Permission)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	s.mustPut("/meshes/default/dataplanes/web-2", strings.Replace(dataplaneJSON("web-2", "web"), `"port"`, `"state":"NotReady","port"`, 1))
	s.mustPut("/meshes/default/dataplanes/gw", `{"type":"Dataplane","mesh":"default","name":"gw","networking":{"address":"192.168.0.2",`+
		`"gateway":{"tags":{"kuma.io/service":"gw"}}}}`)

	var m policy.MeshInsight
	s.getJSON("/mesh-insights/default", &m)
	web := policy.DataplaneCount{Total: 2, Online: 1, PartiallyDegraded: 1}
	all := policy.DataplaneCount{Total: 3, Online: 2, PartiallyDegraded: 1}
	want := policy.MeshInsight{
		Meta:       m.Meta,
		Dataplanes: all,
		DataplanesByType: policy.CountByProxyType{
			Standard: web, GatewayDelegated: policy.DataplaneCount{Total: 1, Online: 1},
		},
		Policies: map[policy.Type]policy.Count{policy.TypeTrafficPermission: {Total: 1}, policy.TypeMeshTrafficPermission: {}},
		Versions: policy.CountByVersion{
			KumaDP: map[string]policy.DataplaneCount{"unknown": all}, Envoy: map[string]policy.DataplaneCount{"unknown": all},
		},
		MTLS:     policy.CountByBackend{IssuedBackends: map[string]policy.DataplaneCount{}},
		Services: policy.ServiceCount{Total: 2, Internal: 2},
	}
	if diff := cmp.Diff(want, m); diff != "" || m.Name != "default" || m.Type != "MeshInsight" {
		t.Errorf("%+v %s", m.Meta, diff)
	}

	var services struct{ Items []policy.ServiceInsight }
	s.getJSON("/meshes/default/service-insights", &services)
	wantServices := []policy.ServiceInsight{
		{Meta: policy.Meta{Type: "ServiceInsight", Mesh: "default", Name: "gw"}, Status: "online", Dataplanes: policy.DataplaneCount{Total: 1, Online: 1}},
		{Meta: policy.Meta{Type: "ServiceInsight", Mesh: "default", Name: "web"}, Status: "partially_degraded", Dataplanes: web},
	}
	if diff := cmp.Diff(wantServices, services.Items); diff != "" {
		t.Error(diff)
	}
	var one policy.ServiceInsight
	s.getJSON("/meshes/default/service-insights/web", &one)
	if diff := cmp.Diff(wantServices[1], one); diff != "" {
		t.Error(diff)
	}
	var g policy.GlobalInsight
	s.getJSON("/global-insight", &g)
	if g.Meshes.Total != 2 || g.Policies.Total != 1 || g.Resources[policy.TypeSecret].Total != 2 ||
		g.Dataplanes.Standard != web || g.Services.Internal != (policy.DataplaneCount{Total: 2, Online: 1, PartiallyDegraded: 1}) {
		t.Errorf("%+v", g)
	}
	var list struct{ Items []struct{ Name string } }
	s.getJSON("/mesh-insights?name=m", &list)
	if len(list.Items) != 1 || list.Items[0].Name != "m2" {
		t.Errorf("%+v", list)
	}
}

func TestInsightsOfNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.get("/meshes/default/service-insights/nope").WantProblem(t, 404, `"nope"`)
	s.get("/meshes/nope/service-insights").WantProblem(t, 404, "no mesh")
	s.get("/mesh-insights/nope").WantProblem(t, 404, "no mesh")
}

// The types of resources are those that there are paths for, in the words of Kuma's clients.
func TestTypes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var types struct{ Resources []policy.Description }
	s.getJSON("/_resources", &types)
	found := map[policy.Type]policy.Description{}
	for _, d := range types.Resources {
		found[d.Name] = d
		if r := s.get("/" + d.Path); r.Status != 200 {
			t.Errorf("GET /%s: %d", d.Path, r.Status)
		}
	}
	want := policy.Description{
		Name: "TrafficPermission", Scope: "Mesh", Path: "traffic-permissions",
		SingularDisplayName: "Traffic Permission", PluralDisplayName: "Traffic Permissions",
		IncludeInFederation: true, Policy: &policy.PolicyDescription{},
	}
	if diff := cmp.Diff(want, found["TrafficPermission"]); diff != "" {
		t.Error(diff)
	}
	if m := found["Mesh"]; m.PluralDisplayName != "Meshes" || m.Scope != "Global" || m.Policy != nil {
		t.Errorf("%+v", m)
	}
	if d := found["Dataplane"]; d.IncludeInFederation || d.ReadOnly {
		t.Errorf("%+v", d)
	}
	if i := found["MeshInsight"]; !i.ReadOnly {
		t.Errorf("%+v", i)
	}
	if r := s.get("/policies"); !strings.Contains(r.Body, `{"name":"TrafficPermission","readOnly":false,"path":"traffic-permissions",`) {
		t.Error(r.Body)
	}
}

func TestWhoAmI(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if r := s.get("/who-am-i"); r.Body != `{"name":"mesh-system:admin","groups":["mesh-system:admin","mesh-system:authenticated"]}` {
		t.Error(r.Body)
	}
	r := s.send(request{method: "GET", path: "/who-am-i", peer: "192.0.2.1:1"})
	if r.Body != `{"name":"mesh-system:anonymous","groups":["mesh-system:unauthenticated"]}` {
		t.Error(r.Body)
	}
}
