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
			if r.Status != 200 || !strings.Contains(r.Body, want) || !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none';") {
				t.Errorf("GET %s for %q: %d %v %.100s", path, peer, r.Status, r.Header, r.Body)
			}
		}
		s.send(request{method: "GET", path: "/gui/none", peer: peer}).WantProblem(t, 404, "/gui")
		s.send(request{method: "GET", path: "/gui/events?mesh=a%0Ab", peer: peer}).WantProblem(t, 400, "valid")
	}
	for _, path := range []string{"/gui", "/gui/", "/gui/page.js", "/gui/events"} {
		s.send(request{method: "POST", path: path, body: "{}"}).WantProblem(t, 405, "not possible")
		if r := s.send(request{method: "HEAD", path: path}); r.Status != 200 {
			t.Errorf("HEAD %s: %d %s", path, r.Status, r.Body)
		}
	}
	s.get("/gui/page.js/x").WantProblem(t, 404, "nothing")
	if r := s.get("/"); !strings.Contains(r.Body, `"gui":"the page is at /gui"`) {
		t.Errorf("the index is %s", r.Body)
	}
}

// Where the page is turned off there is none, and the answer says by which setting.
func TestGUIOff(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *settings.Config) { c.APIServer.GUI.Enabled = false })
	for _, path := range []string{"/gui", "/gui/", "/gui/page.js", "/gui/events"} {
		s.get(path).WantProblem(t, 404, "KUMA_API_SERVER_GUI_ENABLED")
	}
	if r := s.get("/"); !strings.Contains(r.Body, "KUMA_API_SERVER_GUI_ENABLED") {
		t.Errorf("the index is %s", r.Body)
	}
}
