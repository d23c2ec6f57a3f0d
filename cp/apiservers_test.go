package cp_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/xds"
)

// A token from the admin server lets its proxy in. One for an ingress, whichever way it was made, opens nothing else.
func TestOldTokensAtWork(t *testing.T) {
	t.Parallel()
	p := start(t)
	old, api := "http://"+p.addrs.Admin.String()+"/tokens", "http://"+p.addrs.API.String()+"/tokens/dataplane"
	p.comes(p.posts(old, `{"name":"dp-1","mesh":"default"}`).Body, "dp-1").leave()
	for _, url := range []string{old, api} {
		raw := p.posts(url, `{"name":"dp-1","mesh":"default","type":"ingress"}`).Body
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

// Every route of every server says who may use it, and no write is open.
func TestEveryRouteHasAnAccessRule(t *testing.T) {
	t.Parallel()
	servers := cp.Servers()
	if len(servers) != 5 {
		t.Errorf("%d servers, want the API, under TLS too, the two admin servers, and what leads to them", len(servers))
	}
	for server, routes := range servers {
		for _, r := range routes {
			if r.Open() == r.Guarded() {
				t.Errorf("%s: %s %s has no access rule", server, r.Method, r.Path)
			}
			if r.Open() && (r.Method != "GET" || strings.Contains(r.Path, "secret") || strings.Contains(r.Path, "token")) {
				t.Errorf("%s: %s %s is open to everybody", server, r.Method, r.Path)
			}
		}
	}
}
