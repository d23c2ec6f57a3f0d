package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/api"
	"koguma/cp/settings"
)

// Whoever is no administrator gets nowhere by any route of an administrator, whatever else is wrong with the request.
func TestGuardedRoutes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	before := s.contents()
	for _, r := range api.Routes() {
		if r.Open() {
			continue
		}
		path := strings.NewReplacer("{mesh}", "default", "{name}", "x").Replace(r.Path)
		s.send(request{method: r.Method, path: path, body: "?", peer: "192.168.0.9:40000"}).WantProblem(t, 403, "administrators")
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}

// Where this machine is said to be no administrator, it is like any other.
func TestLocalhostIsNoAdministrator(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *settings.Config) { c.APIServer.Authn.LocalhostIsAdmin = false })
	s.get("/secrets").WantProblem(t, 403, "administrators")
	s.put(webPath, dataplaneJSON("web-1", "web")).WantProblem(t, 403, "client certificate")
	if r := s.get("/meshes"); r.Status != 200 {
		t.Errorf("GET /meshes: %d %s", r.Status, r.Body)
	}
}

// Only who runs on this machine and asks directly is an administrator.
func TestAdministrators(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, peer, host string
		header           http.Header
		admin            bool
	}{
		{"direct", "", "", nil, true},
		{"IPv6", "[::1]:40000", "[::1]:5681", nil, true},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:40000", "127.0.0.1", nil, true},
		{"name in capitals", "", "LOCALHOST:5681", nil, true},
		{"own page", "", "", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://localhost:5681"}}, true},
		{"address bar", "", "", http.Header{"Sec-Fetch-Site": {"none"}}, true},
		{"other machine", "192.168.0.9:40000", "", nil, false},
		{"no address", "@", "", nil, false},
		{"rebound name", "", "evil.example:5681", nil, false},
		{"name with localhost in it", "", "localhost.evil.example", nil, false},
		{"address of all interfaces", "", "0.0.0.0:5681", nil, false},
		{"proxied", "", "", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, false},
		{"proxied, nothing said", "", "", http.Header{"X-Forwarded-For": {""}}, false},
		{"proxied by the standard", "", "", http.Header{"Forwarded": {"for=127.0.0.1"}}, false},
		{"proxied by nginx", "", "", http.Header{"X-Real-Ip": {"127.0.0.1"}}, false},
		{"other site", "", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"other port of the same site", "", "", http.Header{"Sec-Fetch-Site": {"same-site"}}, false},
		{"own and other site", "", "", http.Header{"Sec-Fetch-Site": {"none", "cross-site"}}, false},
		{"other origin", "", "", http.Header{"Origin": {"http://evil.example"}}, false},
		{"other port", "", "", http.Header{"Origin": {"http://localhost:8080"}}, false},
		{"origin of a file or sandbox", "", "", http.Header{"Origin": {"null"}}, false},
		{"empty origin", "", "", http.Header{"Origin": {""}}, false},
		{"two origins", "", "", http.Header{"Origin": {"http://localhost:5681", "http://evil.example"}}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:5681"
		if c.peer != "" {
			r.RemoteAddr = c.peer
		}
		if c.host != "" {
			r.Host = c.host
		}
		for k, v := range c.header {
			r.Header[k] = v
		}
		if got := api.Admin(r); got != c.admin {
			t.Errorf("%s: administrator %v, want %v", c.name, got, c.admin)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:40000", ""
	if api.Admin(r) {
		t.Error("no host: administrator")
	}
}

// Everybody else reads what is no secret, and changes nothing, however the path is spelt.
func TestOthersReadOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	before := s.contents()
	peers := 0 // each attempt is another one's: of one peer there is a line a second
	stranger := func(r request) request {
		peers++
		r.peer = fmt.Sprintf("192.168.0.%d:40000", peers)
		return r
	}
	page := func(r request) request {
		peers++
		r.peer = fmt.Sprintf("127.0.0.%d:40000", peers)
		r.header = http.Header{"Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
		return r
	}
	for _, as := range []func(request) request{stranger, page} {
		for _, path := range []string{"/", "/meshes", "/meshes/default", "/dataplanes", webPath, webPath + "/_overview", "/config", "/catalog"} {
			if r := s.send(as(request{method: "GET", path: path})); r.Status != 200 {
				t.Errorf("GET %s: %d %s", path, r.Status, r.Body)
			}
		}
		for _, r := range []request{
			{method: "PUT", path: webPath, body: dataplaneJSON("web-1", "intruder")},
			{method: "PUT", path: webPath, body: "not even JSON", contentType: "text/plain"},
			{method: "DELETE", path: webPath},
			{method: "PUT", path: "/meshes/m2", body: `{"type":"Mesh","name":"m2"}`},
			{method: "DELETE", path: "/meshes/default"},
			{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"default","validFor":"1h"}`},
			{method: "GET", path: "/secrets"},
			{method: "HEAD", path: "/secrets"},
			{method: "GET", path: "/meshes/default/secrets"},
			{method: "GET", path: "/meshes/default/secrets/dataplane-token-signing-key-default-1"},
			{method: "GET", path: "/meshes/default/secrets/there-is-none"},
			{method: "GET", path: "/meshes/nope/secrets/x"},
			{method: "DELETE", path: "/meshes/default/secrets/dataplane-token-signing-key-default-1"},
		} {
			s.send(as(r)).WantProblem(t, 403, "Access Denied")
			if want := "verb=" + r.method + " object=" + r.path + " status=403"; !strings.Contains(s.log.String(), want) {
				t.Errorf("no audit line has %q", want)
			}
		}
		for _, path := range []string{"/meshes/default/./secrets", "//secrets", "/%73ecrets", "/meshes/default/x/../secrets"} {
			s.send(as(request{method: "GET", path: path})).WantProblem(t, 400, "plainly")
		}
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}
