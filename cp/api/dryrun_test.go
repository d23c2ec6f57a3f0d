package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
)

// changed is the pairs that a dry run says change, each as "web -> backend: from denied to allowed".
func changed(t *testing.T, r cptest.Response) []string {
	t.Helper()
	var body struct {
		Changes []struct{ Mesh, Source, Destination, Before, After, Why string }
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil || r.Status != 200 || body.Changes == nil {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	var all []string
	for _, c := range body.Changes {
		if c.Mesh != "default" || c.Why == "" {
			t.Errorf("%+v", c)
		}
		all = append(all, c.Source+" -> "+c.Destination+": from "+c.Before+" to "+c.After)
	}
	return all
}

// A dry run says which pairs change, and writes nothing, whatever it is about.
func TestDryRun(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default/dataplanes/web-1", dataplaneJSON("web-1", "web"))
	s.mustPut("/meshes/default/dataplanes/api-1", dataplaneJSON("api-1", "api"))
	s.mustPut("/meshes/default", mtlsOn)
	s.mustPut(permissionURL, permissionFor("web"))
	before := s.contents()
	for _, c := range []struct {
		name string
		request
		want []string
	}{
		{"the same", request{method: "PUT", path: permissionURL, body: permissionFor("web")}, nil},
		{"another source", request{method: "PUT", path: permissionURL, body: permissionFor("api")},
			[]string{"api -> api: from denied to allowed", "web -> api: from allowed to denied"}},
		{"deletion", request{method: "DELETE", path: permissionURL}, []string{"web -> api: from allowed to denied"}},
		{"no mTLS", request{method: "PUT", path: "/meshes/default", body: `{"type":"Mesh","name":"default"}`},
			[]string{"api -> api: from denied to allowed", "api -> web: from denied to allowed", "web -> web: from denied to allowed"}},
		{"a Dataplane", request{method: "DELETE", path: "/meshes/default/dataplanes/web-1"}, []string{"web -> api: from allowed to denied"}},
		{"a mesh", request{method: "PUT", path: "/meshes/other", body: strings.Replace(mtlsOn, `"default"`, `"other"`, 1)}, nil},
	} {
		c.path += "?dryRun=true"
		if diff := cmp.Diff(c.want, changed(t, s.send(c.request))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	all := s.send(request{method: "POST", path: "/dry-run", contentType: "application/yaml",
		body: permissionFor("api") + "\n---\n" + strings.Replace(permissionFor("web"), `"p"`, `"q"`, 1)})
	if got := changed(t, all); got != nil && !cmp.Equal(got, []string{"api -> api: from denied to allowed"}) {
		t.Errorf("both together: %q", got)
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}

// permissionFor lets a service in at api.
func permissionFor(source string) string {
	return `{"type":"TrafficPermission","mesh":"default","name":"p","sources":[{"match":{"kuma.io/service":"` + source +
		`"}}],"destinations":[{"match":{"kuma.io/service":"api"}}]}`
}

// What would be refused in earnest is refused in a dry run, in the same words.
func TestDryRunRefusesTheSame(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default/dataplanes/web-1", dataplaneJSON("web-1", "web"))
	for _, r := range []request{
		{method: "PUT", path: permissionURL, body: permissionFor("a*")},
		{method: "PUT", path: "/meshes/nowhere/traffic-permissions/p", body: strings.Replace(permissionFor("a"), `"default"`, `"nowhere"`, 1)},
		{method: "PUT", path: permissionURL, body: `{"type":"Mesh","name":"p"}`},
		{method: "DELETE", path: "/meshes/default"},
		{method: "DELETE", path: permissionURL},
		{method: "DELETE", path: "/meshes/default/secrets/dataplane-token-signing-key-default-1"},
	} {
		dry := r
		dry.path += "?dryRun=true"
		got, want := s.send(dry), s.send(r)
		if got.Status != want.Status || got.Body != want.Body || got.Status < 400 {
			t.Errorf("%s %s: %d %s, want %d %s", r.method, r.path, got.Status, got.Body, want.Status, want.Body)
		}
	}
	for query, say := range map[string]string{
		"dryRun=yes": "must be true or false", "dryRun=true&dryRun=true": "more than once", "dryRun=true&x=y": "query",
	} {
		s.send(request{method: "DELETE", path: permissionURL + "?" + query}).WantProblem(t, 400, say)
	}
	if r := s.send(request{method: "POST", path: "/dry-run?force=true", body: permissionFor("web")}); r.Status != 200 {
		t.Errorf("by force: %d %s", r.Status, r.Body)
	}
	s.send(request{method: "POST", path: "/dry-run?force=maybe", body: permissionFor("web")}).WantProblem(t, 400, "query")
	s.send(request{method: "POST", path: "/dry-run", body: permissionFor("web")[:50]}).WantProblem(t, 400, "line 1")
	s.send(request{method: "POST", path: "/dry-run", body: permissionFor("a*")}).WantProblem(t, 400, "sources[0]")
	s.send(request{method: "POST", path: "/dry-run", body: strings.Replace(permissionFor("a"), `"default"`, `"nowhere"`, 1)}).
		WantProblem(t, 404, `TrafficPermission "p" of mesh "nowhere"`)
	s.send(request{method: "POST", path: "/dry-run", body: permissionFor("web"), peer: "192.0.2.1:1"}).WantProblem(t, 403, "administrators")
}
