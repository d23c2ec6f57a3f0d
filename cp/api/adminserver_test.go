package api_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"koguma/cp/api"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/token"
)

// newAdminServer is what the admin server serves, over a store with the mesh "default".
func newAdminServer(t *testing.T, change ...func(*settings.Config)) *server {
	t.Helper()
	s := newServer(t, change...)
	cfg := settings.Default()
	for _, c := range change {
		c(&cfg)
	}
	s.handler = api.NewAdminAPI(cfg, s.store, issue(), slog.New(slog.NewTextHandler(s.log, nil)))
	return s
}

// The bodies of the first versions get a token, for ten years with a warning; one that is bound to nothing does not.
func TestOldTokens(t *testing.T) {
	t.Parallel()
	s := newAdminServer(t)
	for body, want := range map[string]token.Claims{
		`{"name":"dp-1","mesh":"default"}`:                  {Name: "dp-1", Mesh: "default"},
		`{"name":"dp-1","mesh":"default","type":"ingress"}`: {Name: "dp-1", Mesh: "default", Type: "ingress"},
		`{"mesh":"default","type":"dataplane","tags":{"kuma.io/service":["backend","backend-admin"]}}`: {
			Mesh: "default", Type: "dataplane", Tags: map[string][]string{"kuma.io/service": {"backend", "backend-admin"}}},
	} {
		r := s.send(request{method: "POST", path: "/tokens", body: body})
		c, err := token.Inspect(token.Raw(r.Body))
		if r.Status != 200 || r.Header.Get("Content-Type") != "text/plain" || !strings.Contains(r.Header.Get("Koguma-Warning"), "10 years") || err != nil {
			t.Errorf("%s: %d %v, %v", body, r.Status, r.Header, err)
			continue
		}
		if c.Name != want.Name || c.Mesh != want.Mesh || c.Type != want.Type || fmt.Sprint(c.Tags) != fmt.Sprint(want.Tags) || time.Until(c.ExpiresAt) < 87599*time.Hour {
			t.Errorf("%s: got %+v", body, c)
		}
		if log := s.log.String(); !strings.Contains(log, "jti="+c.ID+" kid=1 exp=") || strings.Contains(log, r.Body) {
			t.Errorf("the log should have the token's ids and not the token: %s", log)
		}
	}
	for body, say := range map[string]string{
		`{"mesh":"default"}`: "name", `{"name":"dp-1"}`: "mesh", `{"mesh":"default","tags":{}}`: "name", `{}`: "mesh", `{"name":"dp-1","mesh":"nope"}`: "there is no mesh",
		`{`: "line 1", `{"name":"dp-1","mesh":"default","age":1}`: "age",
	} {
		s.send(request{method: "POST", path: "/tokens", body: body}).WantProblem(t, 400, say)
	}
}

// Beside tokens there are secrets, and nothing else; and nobody but an administrator gets to them.
func TestAdminServerRoutes(t *testing.T) {
	t.Parallel()
	s := newAdminServer(t)
	s.mustPut("/meshes/default/secrets/x", cptest.SecretJSON("x", []byte("y")))
	for _, path := range []string{"/secrets", "/meshes/default/secrets", "/meshes/default/secrets/x"} {
		if r := s.get(path); r.Status != 200 {
			t.Errorf("GET %s: %d %s", path, r.Status, r.Body)
		}
		s.send(request{method: "GET", path: path, peer: "192.168.0.9:40000"}).WantProblem(t, 403, "administrators")
	}
	for _, path := range []string{"/", "/catalog", "/config", "/meshes", "/dataplanes", "/tokens/dataplane"} {
		s.get(path).WantProblem(t, 404, "Not found")
	}
	body := `{"name":"dp-1","mesh":"default"}`
	s.send(request{method: "POST", path: "/tokens", body: body, peer: "192.168.0.9:40000"}).WantProblem(t, 403, "administrators")
	s.send(request{method: "POST", path: "/tokens", body: body, host: "evil.example:5679"}).WantProblem(t, 403, "administrators")
	s.send(request{method: "POST", path: "/tokens", body: body, contentType: "text/plain"}).WantProblem(t, 415, "Content-Type")
	s.get("/tokens").WantProblem(t, 405, "GET")
	noIssuer := func(c *settings.Config) { c.DPServer.Authn.DPProxy.DPToken.EnableIssuer = false }
	newAdminServer(t, noIssuer).send(request{method: "POST", path: "/tokens", body: body}).WantProblem(t, 404, "enableIssuer")
}
