package cp_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"koguma/cp"
)

// Every limit has a name of its own, and a row with its value in the reference.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../doc/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, l := range cp.Limits() {
		if row := fmt.Sprintf("\n| `%s` | %v | ", l.Name, l); !strings.Contains(string(data), row) {
			t.Errorf("there is no row %q", row)
		}
		if seen[l.Name] || l.Value <= 0 {
			t.Errorf("%s: a second one, or no limit: %v", l.Name, l)
		}
		seen[l.Name] = true
	}
}

// What the API tells of the limits is what it goes by: up to them all is well, and beyond it is refused.
func TestLimitsHold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	shown := s.get("/config").body
	limit := func(name string) int {
		for _, l := range cp.Limits() {
			if l.Name == name && strings.Contains(shown, fmt.Sprintf(`{"name":%q,"value":%d,"unit":%q}`, l.Name, l.Value, l.Unit)) {
				return int(l.Value)
			}
		}
		t.Fatalf("GET /config does not show %s", name)
		return 0
	}
	fill := func(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }
	dp := dataplaneJSON("web-1", "web")
	long := func(n int) string { return strings.Repeat("x", n) }
	deep := func(n int) string { // in a field whose value may be anything
		return `{"type":"Mesh","name":"m2","mtls":{"backends":[{"name":"a","type":"builtin","conf":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]}}`
	}
	for _, c := range []struct {
		name string
		send func(n int) response
		say  string
	}{
		{"api.body", func(n int) response { return s.put(webPath, fill(dp, n)) }, "larger than 1 MiB"},
		{"api.page", func(n int) response { return s.get(fmt.Sprint("/meshes?size=", n)) }, "size"},
		{"resource.mesh", func(n int) response { return s.put("/meshes/"+long(n), `{"type":"Mesh","name":"`+long(n)+`"}`) }, "63 characters"},
		{"resource.name", func(n int) response { return s.put(secretPath(long(n)), secretJSON(long(n), []byte("x"))) }, "253 characters"},
		{"token.id", func(n int) response {
			return s.send(request{method: "POST", path: "/tokens/dataplane/revocations", body: `{"mesh":"default","ids":["` + long(n) + `"]}`})
		}, "128 printable"},
	} {
		n := limit(c.name)
		if r := c.send(n); r.status >= 300 {
			t.Errorf("%s of %d: %d %s", c.name, n, r.status, r.body)
		}
		if r := c.send(n + 1); r.status != 400 && r.status != 413 || !strings.Contains(r.body, c.say) {
			t.Errorf("%s of %d: %d %s, want %q", c.name, n+1, r.status, r.body, c.say)
		}
	}
	if r := s.put("/meshes/m2", deep(limit("document.depth"))); r.status != 400 || !strings.Contains(r.body, "too many lists") {
		t.Errorf("a document that is too deep: %d %s", r.status, r.body)
	}
}
