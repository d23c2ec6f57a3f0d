package cp_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/token"
	"koguma/xds"
)

// newAdminServer is what the admin server serves, over a store with the mesh "default".
func newAdminServer(t *testing.T, change ...func(*settings.Config)) *server {
	t.Helper()
	s := newServer(t, change...)
	cfg := settings.Default()
	for _, c := range change {
		c(&cfg)
	}
	s.handler = cp.NewAdminAPI(cfg, s.store, issue(), slog.New(slog.NewTextHandler(s.log, nil)))
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
		c, err := token.Inspect(token.Raw(r.body))
		if r.status != 200 || r.header.Get("Content-Type") != "text/plain" || !strings.Contains(r.header.Get("Koguma-Warning"), "10 years") || err != nil {
			t.Errorf("%s: %d %v, %v", body, r.status, r.header, err)
			continue
		}
		if c.Name != want.Name || c.Mesh != want.Mesh || c.Type != want.Type || fmt.Sprint(c.Tags) != fmt.Sprint(want.Tags) || time.Until(c.ExpiresAt) < 87599*time.Hour {
			t.Errorf("%s: got %+v", body, c)
		}
		if log := s.log.String(); !strings.Contains(log, "jti="+c.ID+" kid=1 exp=") || strings.Contains(log, r.body) {
			t.Errorf("the log should have the token's ids and not the token: %s", log)
		}
	}
	for body, say := range map[string]string{
		`{"mesh":"default"}`: "name", `{"name":"dp-1"}`: "mesh", `{"mesh":"default","tags":{}}`: "name", `{}`: "mesh", `{"name":"dp-1","mesh":"nope"}`: "there is no mesh",
		`{`: "line 1", `{"name":"dp-1","mesh":"default","age":1}`: "age",
	} {
		s.send(request{method: "POST", path: "/tokens", body: body}).wantProblem(t, 400, say)
	}
}

// Beside tokens there are secrets, and nothing else; and nobody but an administrator gets to them.
func TestAdminServerRoutes(t *testing.T) {
	t.Parallel()
	s := newAdminServer(t)
	s.mustPut("/meshes/default/secrets/x", secretJSON("x", []byte("y")))
	for _, path := range []string{"/secrets", "/meshes/default/secrets", "/meshes/default/secrets/x"} {
		if r := s.get(path); r.status != 200 {
			t.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
		s.send(request{method: "GET", path: path, peer: "192.168.0.9:40000"}).wantProblem(t, 403, "administrators")
	}
	for _, path := range []string{"/", "/catalog", "/config", "/meshes", "/dataplanes", "/tokens/dataplane"} {
		s.get(path).wantProblem(t, 404, "Not found")
	}
	body := `{"name":"dp-1","mesh":"default"}`
	s.send(request{method: "POST", path: "/tokens", body: body, peer: "192.168.0.9:40000"}).wantProblem(t, 403, "administrators")
	s.send(request{method: "POST", path: "/tokens", body: body, host: "evil.example:5679"}).wantProblem(t, 403, "administrators")
	s.send(request{method: "POST", path: "/tokens", body: body, contentType: "text/plain"}).wantProblem(t, 415, "Content-Type")
	s.get("/tokens").wantProblem(t, 405, "GET")
	newAdminServer(t, validator(false, true)).send(request{method: "POST", path: "/tokens", body: body}).wantProblem(t, 404, "enableIssuer")
}

// A token from the admin server lets its proxy in. One for an ingress, whichever way it was made, opens nothing else.
func TestOldTokensAtWork(t *testing.T) {
	t.Parallel()
	p := start(t)
	old, api := "http://"+p.addrs.Admin.String()+"/tokens", "http://"+p.addrs.API.String()+"/tokens/dataplane"
	p.comes(p.posts(old, `{"name":"dp-1","mesh":"default"}`).body, "dp-1").leave()
	for _, url := range []string{old, api} {
		raw := p.posts(url, `{"name":"dp-1","mesh":"default","type":"ingress"}`).body
		p.turnedAway(raw, "type")
		s := p.open(p.conn, "sotw", raw)
		s.askAs(node(t, "default.dp-1", map[string]any{"dataplane.proxyType": "ingress"}), xds.TypeCluster)
		s.ended(codes.InvalidArgument, "ingress")
	}
	if n := p.metric("koguma_tokens_issued_total"); n != 4 { // and the one of start
		t.Errorf("%d tokens counted, want 4", n)
	}
}

// A port that is taken is named by its setting.
func TestAdminPortTaken(t *testing.T) {
	t.Parallel()
	p := boot(t)
	cfg := settings.Default()
	cfg.Store.Type = settings.StoreMemory
	cfg.APIServer.HTTP.Port, cfg.DPServer.Port, cfg.Diagnostics.ServerPort = 0, 0, 0
	if _, err := fmt.Sscanf(p.addrs.Admin.String(), "127.0.0.1:%d", &cfg.AdminServer.Local.Port); err != nil {
		t.Fatal(err)
	}
	c, err := cp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "adminServer.local.port (KUMA_ADMIN_SERVER_LOCAL_PORT)") {
		t.Errorf("got %v", err)
	}
}
