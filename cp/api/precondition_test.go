package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
)

// matching is a header that says what must be there.
func matching(name, value string) http.Header { return http.Header{name: {value}} }

// The ETag of an answer is that of the resource, whatever else is written, and every change makes another.
func TestETag(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	put := func() string {
		t.Helper()
		return s.put(webPath, dataplaneJSON("web-1", "web")).Header.Get("ETag")
	}
	first := put()
	s.mustPut(permissionURL, cptest.Permission)
	if again := put(); first == "" || again != first || s.get(webPath).Header.Get("ETag") != first {
		t.Errorf("ETag %q, then %q", first, again)
	}
	s.mustPut(webPath, dataplaneJSON("web-1", "web2"))
	if now := s.get(webPath).Header.Get("ETag"); now == first {
		t.Errorf("another Dataplane has the same ETag %q", now)
	}
	if r := s.get("/meshes/default/dataplanes"); r.Header.Get("ETag") != "" {
		t.Errorf("a list has the ETag of something: %v", r.Header)
	}
}

// What must be there for a write to happen: else it is a conflict, and nothing has happened.
func TestPreconditions(t *testing.T) {
	t.Parallel()
	global := "/globalsecrets/a"
	for _, kind := range []struct{ path, body, changed string }{
		{webPath, dataplaneJSON("web-1", "web"), dataplaneJSON("web-1", "web2")},
		{permissionURL, cptest.Permission, strings.Replace(cptest.Permission, "backend", "other", 1)},
		{"/meshes/m2", `{"type":"Mesh","name":"m2"}`, `{"type":"Mesh","name":"m2","labels":{"a":"b"}}`},
		{secretPath("a"), cptest.SecretJSON("a", []byte("x")), cptest.SecretJSON("a", []byte("y"))},
		{global, globalSecretJSON("a", "x"), globalSecretJSON("a", "y")},
	} {
		t.Run(kind.path, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.refuses("PUT", kind.path, kind.body, "If-Match", "*", "it is not there")
			s.refuses("PUT", kind.path, kind.body, "If-Match", `"1"`, "it is not there")
			created := s.send(request{method: "PUT", path: kind.path, body: kind.body, header: matching("If-None-Match", "*")})
			old := created.Header.Get("ETag")
			if created.Status != 201 || old == "" {
				t.Fatalf("%d %s, ETag %q", created.Status, created.Body, old)
			}
			s.refuses("PUT", kind.path, kind.changed, "If-None-Match", "*", "it exists, at version "+strings.Trim(old, `"`))
			updated := s.send(request{method: "PUT", path: kind.path, body: kind.changed, header: matching("If-Match", old)})
			now := updated.Header.Get("ETag")
			if updated.Status != 200 || now == "" || now == old {
				t.Fatalf("%d %s, ETag %q", updated.Status, updated.Body, now)
			}
			for _, method := range []string{"PUT", "DELETE"} {
				s.refuses(method, kind.path, kind.body, "If-Match", old, "If-Match: "+now)
			}
			s.refuses("PUT", kind.path+"?dryRun=true", kind.body, "If-Match", old, "If-Match: "+now)
			s.refuses("DELETE", kind.path+"?dryRun=true", "", "If-Match", old, "If-Match: "+now)
			if r := s.send(request{method: "DELETE", path: kind.path, header: matching("If-Match", now)}); r.Status != 200 {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
}

// refuses expects a conflict that says so, and that nothing has happened.
func (s *server) refuses(method, path, body, header, value, say string) {
	s.t.Helper()
	before := s.contents()
	s.send(request{method: method, path: path, body: body, header: matching(header, value)}).WantProblem(s.t, 409, say)
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		s.t.Error(diff)
	}
}

// A condition that is not understood lets nothing through.
func TestMalformedPreconditions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	tag := s.get(webPath).Header.Get("ETag")
	before := s.contents()
	for _, h := range []http.Header{
		matching("If-Match", ""),
		matching("If-Match", strings.Trim(tag, `"`)),
		matching("If-Match", "W/"+tag),
		matching("If-Match", tag+", "+tag),
		matching("If-Match", `"0"`),
		matching("If-Match", `"-1"`),
		matching("If-Match", `"01"`),
		matching("If-Match", `"`+tag+`"`),
		matching("If-Match", `"99999999999999999999"`),
		matching("If-Match", `"x"`),
		matching("If-None-Match", tag),
		matching("If-None-Match", ""),
		matching("If-Unmodified-Since", "Mon, 23 Nov 2026 17:00:00 GMT"),
		{"If-Match": {tag}, "If-None-Match": {"*"}},
		{"If-Match": {tag, tag}},
	} {
		for _, method := range []string{"PUT", "DELETE"} {
			s.send(request{method: method, path: webPath, body: dataplaneJSON("web-1", "web2"), header: h}).WantProblem(t, 400, "If-")
		}
	}
	s.send(request{method: "DELETE", path: webPath, header: matching("If-None-Match", "*")}).WantProblem(t, 400, "PUT")
	s.send(request{method: "DELETE", path: webPath + "9", header: matching("If-Match", "*")}).WantProblem(t, 404, "not found")
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}

// Of many that change the same version of something, or create it, exactly one does.
func oneWriterWins(t *testing.T, s *server) {
	header := matching("If-None-Match", "*")
	for round := range 5 {
		won, etags := 0, map[string]bool{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				r := s.send(request{method: "PUT", path: webPath, body: dataplaneJSON("web-1", fmt.Sprintf("web-%d-%d", round, i)), header: header})
				mu.Lock()
				defer mu.Unlock()
				if r.Status != http.StatusConflict {
					won++
					etags[r.Header.Get("ETag")] = true
				}
			})
		}
		all.Wait()
		now := s.get(webPath).Header.Get("ETag")
		if won != 1 || !etags[now] {
			t.Fatalf("%d writers won, with %v; it is at %s", won, etags, now)
		}
		header = matching("If-Match", now)
	}
}

func globalSecretJSON(name, data string) string {
	return fmt.Sprintf(`{"type":"GlobalSecret","name":%q,"data":%q}`, name, base64.StdEncoding.EncodeToString([]byte(data)))
}
