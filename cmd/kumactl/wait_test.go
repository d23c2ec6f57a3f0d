package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// patient is a control plane whose proxies are as these answers say, one after the other and the last for ever. Without a
// version it does not say with which version of its store something was written.
func patient(t *testing.T, version string, answers ...string) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	return serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_delivery"):
			if r.URL.Query().Get("version") != version {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			i := min(int(asked.Add(1)), len(answers)) - 1
			io.WriteString(w, answers[i])
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"status":404,"title":"Could not retrieve a resource","detail":"not found"}`)
		default:
			if version != "" {
				w.Header().Set("Koguma-Version", version)
			}
			io.WriteString(w, "{}")
		}
	}), asked
}

const (
	nobody   = `{"version":7,"proxies":2,"pending":[],"absent":[]}`
	webLacks = `{"version":7,"proxies":2,"pending":[{"proxy":"web-1","type":"listeners","reason":"it refused them","refusal":"no \u001b such luck"}],"absent":[]}`
	webLost  = `{"version":7,"proxies":1,"pending":[],"absent":[{"proxy":"web-1","why":"its stream broke","lost":true},{"proxy":"api-1","why":"it never was"}]}`
	webLeft  = `{"version":7,"proxies":1,"pending":[],"absent":[{"proxy":"web-1","why":"it left"}]}`
)

// What is waited for is that nobody lacks anything. Who lacked something and is lost counts, until it is back or gone.
func TestWait(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte("type: Mesh\nname: default\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		version        string
		answers        []string
		code, asked    int
		stdout, stderr string
	}{
		{"at once", "7", []string{nobody}, 0, 1, "2 of 2 connected proxies have it", ""},
		{"later", "7", []string{webLacks, webLacks, nobody}, 0, 3, "2 of 2 connected proxies", ""},
		{"never", "7", []string{webLacks}, 1, 0, "", "after 500ms these proxies of mesh \"default\" have not said that they have it:\n* web-1: listeners: it refused them: no \\x1b such luck"},
		{"never there", "7", []string{webLost}, 0, 1, "1 of 1 connected proxies", "Warning: web-1 of mesh default is not connected, and gets it when it is: its stream broke"},
		{"lost meanwhile", "7", []string{webLacks, webLost}, 1, 0, "", "* web-1: its stream broke\n"},
		{"lost and back", "7", []string{webLacks, webLost, nobody}, 0, 3, "2 of 2 connected proxies", ""},
		{"left meanwhile", "7", []string{webLacks, webLeft}, 0, 2, "1 of 1 connected proxies", "it left"},
		{"no version", "", nil, 1, 0, "Created", "too old for --wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, asked := patient(t, c.version, c.answers...)
			got := kumactl(t, address, "apply", "-f", file, "--wait", "--timeout=500ms")
			if got.code != c.code || !strings.Contains(got.stdout, c.stdout) && c.stdout != "Created" || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if n := int(asked.Load()); c.asked > 0 && n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}
