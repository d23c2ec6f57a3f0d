package api_test

import (
	"strings"
	"testing"

	"koguma/cp/settings"
)

// The page is for whoever may read, at all its addresses, and there is nothing to be written.
func TestGUI(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, peer := range []string{"", "192.168.0.9:40000"} {
		for path, want := range map[string]string{"/gui": "<!doctype html>", "/gui/": "<!doctype html>", "/gui/page.js": "import", "/gui/page.css": ":root"} {
			r := s.send(request{method: "GET", path: path, peer: peer})
			if r.status != 200 || !strings.Contains(r.body, want) || !strings.HasPrefix(r.header.Get("Content-Security-Policy"), "default-src 'none';") {
				t.Errorf("GET %s for %q: %d %v %.100s", path, peer, r.status, r.header, r.body)
			}
		}
		s.send(request{method: "GET", path: "/gui/none", peer: peer}).wantProblem(t, 404, "/gui")
		s.send(request{method: "GET", path: "/gui/events?mesh=a%0Ab", peer: peer}).wantProblem(t, 400, "valid")
	}
	for _, path := range []string{"/gui", "/gui/", "/gui/page.js", "/gui/events"} {
		s.send(request{method: "POST", path: path, body: "{}"}).wantProblem(t, 405, "not possible")
		if r := s.send(request{method: "HEAD", path: path}); r.status != 200 {
			t.Errorf("HEAD %s: %d %s", path, r.status, r.body)
		}
	}
	s.get("/gui/page.js/x").wantProblem(t, 404, "nothing")
	if r := s.get("/"); !strings.Contains(r.body, `"gui":"the page is at /gui"`) {
		t.Errorf("the index is %s", r.body)
	}
}

// Where the page is turned off there is none, and the answer says by which setting.
func TestGUIOff(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *settings.Config) { c.APIServer.GUI.Enabled = false })
	for _, path := range []string{"/gui", "/gui/", "/gui/page.js", "/gui/events"} {
		s.get(path).wantProblem(t, 404, "KUMA_API_SERVER_GUI_ENABLED")
	}
	if r := s.get("/"); !strings.Contains(r.body, "KUMA_API_SERVER_GUI_ENABLED") {
		t.Errorf("the index is %s", r.body)
	}
}
