package api_test

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// A resource comes into being, changes, is read one by one and in lists, and goes.
func TestResourceLife(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, step := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"PUT", webPath, dataplaneJSON("web-1", "web"), 201, `{}`},
		{"PUT", webPath, dataplaneJSON("web-1", "web2"), 200, `{}`},
		{"PUT", permissionURL, cptest.Permission, 201, `{}`},
		{"PUT", "/meshes/other", `{"type":"Mesh","name":"other"}`, 201, `{}`},
		{"DELETE", webPath, "", 200, `{}`},
		{"DELETE", permissionURL, "", 200, `{}`},
		{"DELETE", "/meshes/other", "", 200, `{}`},
	} {
		r := s.send(request{method: step.method, path: step.path, body: step.body})
		if r.Status != step.status || r.Body != step.answer {
			t.Errorf("%s %s: %d %s, want %d %s", step.method, step.path, r.Status, r.Body, step.status, step.answer)
		}
		read := s.get(step.path)
		switch {
		case step.method == "DELETE":
			read.WantProblem(t, 404, "not found")
		case read.Status != 200 || !strings.Contains(read.Body, `"creationTime":"2`):
			t.Errorf("GET %s: %d %s", step.path, read.Status, read.Body)
		}
	}
}

func TestYAMLBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.send(request{method: "PUT", path: "/meshes/m2", body: "type: Mesh\nname: m2\n", contentType: "application/yaml"})
	if r.Status != 201 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// Whatever quotes and escapes there are in a text, it comes back as it was.
func TestTextIsKeptLiterally(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const text = `'; DROP TABLE resources;-- "%_$1\ \u0000 <script>&{{x}}`
	label, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2","labels":{"a":`+string(label)+`}}`)
	var m policy.Mesh
	if err := json.Unmarshal([]byte(s.get("/meshes/m2").Body), &m); err != nil || m.Labels["a"] != text {
		t.Errorf("%q, %v", m.Labels["a"], err)
	}
	s.put("/meshes/m2", `{"type":"Mesh","name":"m2","labels":{"a":"\u0000"}}`).WantProblem(t, 400, "labels")
}

// Lists come in pages that lead to each other, over one mesh or all, and can be filtered.
func TestLists(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/m2", `{"type":"Mesh","name":"m2"}`)
	for i := range 5 {
		s.mustPut(fmt.Sprintf("/meshes/default/dataplanes/dp-%d", i), dataplaneJSON(fmt.Sprintf("dp-%d", i), fmt.Sprintf("svc-%d", i%2)))
	}
	s.mustPut("/meshes/m2/dataplanes/dp-9", strings.Replace(dataplaneJSON("dp-9", "svc-1"), `"default"`, `"m2"`, 1))
	s.mustPut("/meshes/default/dataplanes/dp-2", strings.Replace(dataplaneJSON("dp-2", "svc-0"), `"networking"`, `"labels":{"team":"a"},"networking"`, 1))
	s.mustPut("/meshes/m3", `{"type":"Mesh","name":"m3"}`)
	s.mustPut("/meshes/m3/dataplanes/gw", `{"type":"Dataplane","mesh":"m3","name":"gw","networking":{"address":"192.168.0.2","gateway":{"tags":{"kuma.io/service":"gw"}}}}`)
	for _, c := range []struct {
		path  string
		total int
		names string
		more  bool
	}{
		{"/meshes", 3, "default m2 m3", false},
		{"/dataplanes", 7, "dp-0 dp-1 dp-2 dp-3 dp-4 dp-9 gw", false},
		{"/meshes/default/dataplanes", 5, "dp-0 dp-1 dp-2 dp-3 dp-4", false},
		{"/meshes/m2/traffic-permissions", 0, "", false},
		{"/meshes/default/dataplanes?size=2", 5, "dp-0 dp-1", true},
		{"/meshes/default/dataplanes?size=2&offset=2", 5, "dp-2 dp-3", true},
		{"/meshes/default/dataplanes?size=2&offset=4", 5, "dp-4", false},
		{"/meshes/default/dataplanes?offset=99", 5, "", false},
		{"/meshes/default/dataplanes?name=-3", 1, "dp-3", false},
		{"/meshes/default/dataplanes?filter[labels.team]=a", 1, "dp-2", false},
		{"/meshes/default/dataplanes?filter[labels.team]=a&filter[labels.stage]=b", 0, "", false},
		{"/meshes/default/dataplanes?filter[labels.team]=", 0, "", false},
		{"/dataplanes?gateway=true", 1, "gw", false},
		{"/dataplanes?gateway=delegated", 1, "gw", false},
		{"/dataplanes?gateway=builtin", 0, "", false},
		{"/dataplanes/_overview?gateway=false&name=9", 1, "dp-9", false},
		{"/meshes/m2/dataplanes+insights", 1, "dp-9", false},
		{"/meshes/default/dataplanes?name=%25", 0, "", false},
		{"/meshes/default/dataplanes?name=_", 0, "", false},
		{"/dataplanes?tag=kuma.io/service:svc-1", 3, "dp-1 dp-3 dp-9", false},
		{"/dataplanes?tag=kuma.io/service:svc-1&tag=version:2", 0, "", false},
		{"/dataplanes?tag=kuma.io/service:svc-1&size=2&name=dp", 3, "dp-1 dp-3", true},
		{"/meshes/default/dataplanes/_overview?tag=kuma.io/service:svc-0&size=1", 3, "dp-0", true},
	} {
		r := s.get(c.path)
		var got struct {
			Total int
			Items []struct{ Name string }
			Next  *string
		}
		if err := json.Unmarshal([]byte(r.Body), &got); err != nil || r.Status != 200 || got.Items == nil {
			t.Errorf("GET %s: %d %s", c.path, r.Status, r.Body)
			continue
		}
		var names []string
		for _, i := range got.Items {
			names = append(names, i.Name)
		}
		if got.Total != c.total || strings.Join(names, " ") != c.names || (got.Next != nil) != c.more {
			t.Errorf("GET %s: total %d, %v, more %v; want %d, %s, %v", c.path, got.Total, names, got.Next != nil, c.total, c.names, c.more)
		}
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	var o policy.DataplaneOverview
	if err := json.Unmarshal([]byte(s.get(webPath+"/_overview").Body), &o); err != nil {
		t.Fatal(err)
	}
	if o.Type != "DataplaneOverview" || o.Mesh != "default" || o.Name != "web-1" || !o.Insight.Online() ||
		o.Dataplane.Networking.Inbound[0].Port != 8080 || o.CreationTime.IsZero() {
		t.Errorf("got %+v", o)
	}
	s.get("/meshes/default/dataplanes/web-2/_overview").WantProblem(t, 404, "web-2")
	s.get("/meshes/nope/dataplanes/_overview").WantProblem(t, 404, "Failed to retrieve Mesh")
}

func TestInformation(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for path, want := range map[string]string{
		"/":        `"product":"Koguma","version":"` + cp.Version() + `","instanceId":"test-cp"`,
		"/catalog": `{"apis":{"bootstrap":{"url":"https://localhost:5678"},"dataplaneToken":{"localUrl":"http://localhost:5679"},"admin":{"localUrl":"http://localhost:5679"}}}`,
		"/config":  `"dataplaneDeregistrationDelay":"10s"`,
	} {
		if r := s.get(path); r.Status != 200 || !strings.Contains(r.Body, want) {
			t.Errorf("GET %s: %d %s, want %s", path, r.Status, r.Body, want)
		}
	}
	r := s.send(request{method: "GET", path: "/catalog", host: "[::1]:5681"})
	if want := `https://[::1]:5678`; !strings.Contains(r.Body, want) {
		t.Errorf("catalog for an IPv6 host: %s, want %s", r.Body, want)
	}
	named := newServer(t, func(c *settings.Config) { c.General.AdvertisedHostname = "cp.example" })
	if r := named.get("/catalog"); !strings.Contains(r.Body, "https://cp.example:5678") {
		t.Errorf("catalog does not name the advertised host: %s", r.Body)
	}
}

// A token says what was asked for, and its life is bounded.
func TestTokenIssue(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.send(request{method: "POST", path: "/tokens/dataplane",
		body: `{"name":"dp-1","mesh":"default","tags":{"kuma.io/service":["b","a","b"]},"type":"dataplane","validFor":"720h"}`})
	if r.Status != 200 || r.Header.Get("Content-Type") != "text/plain" || r.Header.Get("Koguma-Warning") != "" || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", r.Status, r.Header, r.Body)
	}
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := token.Verifier{Keys: oneKey{&key.PublicKey}}.Verify(token.Raw(r.Body), "default", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "dp-1" || c.Mesh != "default" || c.Type != "dataplane" || !cmp.Equal(c.Tags, map[string][]string{"kuma.io/service": {"a", "b"}}) {
		t.Errorf("got %+v", c)
	}
	if life := time.Until(c.ExpiresAt); life > 720*time.Hour || life < 719*time.Hour {
		t.Errorf("valid for %v", life)
	}
	if log := s.log.String(); !strings.Contains(log, "mesh=default name=dp-1 jti="+c.ID) || strings.Contains(log, r.Body) {
		t.Errorf("the log should have the token's id and not the token: %s", log)
	}
}

// oneKey is the key for everything.
type oneKey struct{ key *rsa.PublicKey }

func (k oneKey) Key(string, string) (*rsa.PublicKey, error) { return k.key, nil }

func TestTokenWithoutValidity(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.send(request{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"default"}`})
	if r.Status != 200 || !strings.Contains(r.Header.Get("Koguma-Warning"), "10 years") {
		t.Fatalf("%d %v %s", r.Status, r.Header, r.Body)
	}
	c, err := token.Inspect(token.Raw(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	if life := time.Until(c.ExpiresAt); life < 87599*time.Hour || life > 87600*time.Hour {
		t.Errorf("valid for %v", life)
	}
	if !strings.Contains(s.log.String(), "level=WARN") {
		t.Errorf("nothing in the log: %s", s.log)
	}
}

func TestTokenWithoutKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if err := s.store.Write(t.Context(), store.Op{Put: cptest.Mesh("keyless"), Expect: store.Absent}); err != nil {
		t.Fatal(err)
	}
	s.send(request{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"keyless","validFor":"1h"}`}).WantProblem(t, 404, "Signing Key not found")
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *settings.Config) { c.APIServer.ReadOnly = true })
	before := s.contents()
	s.put(webPath, dataplaneJSON("web-1", "web")).WantProblem(t, 405, "PUT")
	s.send(request{method: "DELETE", path: "/meshes/default"}).WantProblem(t, 405, "DELETE")
	if r := s.send(request{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"default","validFor":"1h"}`}); r.Status != 200 {
		t.Errorf("no token: %d %s", r.Status, r.Body)
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}
