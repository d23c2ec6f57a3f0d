package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/token"
)

// audited is the lines of the audit log since the log was that long.
func audited(log *logBuffer, since int) []string {
	var lines []string
	for line := range strings.SplitSeq(log.String()[since:], "\n") {
		if strings.Contains(line, "msg=audit") {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantLine checks that a request has left one line, with all of these in it.
func wantLine(t *testing.T, lines []string, want ...string) {
	t.Helper()
	if len(lines) != 1 {
		t.Errorf("%d lines, want one with %q: %q", len(lines), want, lines)
		return
	}
	for _, w := range want {
		if !strings.Contains(lines[0]+" ", w+" ") {
			t.Errorf("no %q in %s", w, lines[0])
		}
	}
}

// Each attempt to change something leaves one line, whoever makes it and however it ends.
func TestEveryChangeIsAudited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	attempt := func(method, path, body, peer string) []string {
		since := len(s.log.String())
		s.send(request{method: method, path: path, body: body, peer: peer})
		return audited(s.log, since)
	}
	fill := strings.NewReplacer("{mesh}", "default", "{name}", "x")
	for _, r := range cp.Routes() {
		if r.Method == "GET" {
			continue
		}
		path := fill.Replace(r.Path)
		wantLine(t, attempt(r.Method, path, "?", ""), "actor=mesh-system:admin", "verb="+r.Method, "object="+path, "outcome=refused")
		wantLine(t, attempt(r.Method, path, "?", "192.168.0.9:40000"), "actor=mesh-system:anonymous", "verb="+r.Method, "object="+path, "outcome=refused")
	}
	for _, odd := range []struct{ method, path, object string }{
		{"DELETE", "/", "/"},
		{"PATCH", webPath, webPath},
		{"POST", "/there/is/nothing", "/there/is/nothing"},
		{"PUT", "//secrets", "//secrets"},
		{"PUT", "/%73ecrets/x", "/secrets/x"},
		{strings.Repeat("X", 200), webPath, webPath},
		{"POST", "/" + strings.Repeat("x", 5000), "/" + strings.Repeat("x", 99)},
	} {
		wantLine(t, attempt(odd.method, odd.path, "", "192.168.0.9:40000"), "actor=mesh-system:anonymous", "object="+odd.object, "outcome=refused")
	}
	done := attempt("PUT", webPath, dataplaneJSON("web-1", "web"), "")
	wantLine(t, done, "actor=mesh-system:admin", "verb=PUT", "object="+webPath, "status=201", "outcome=done")
	if lines := attempt("GET", webPath, "", ""); lines != nil {
		t.Errorf("who reads what everybody may read has a line: %q", lines)
	}
}

// What broke may have happened or not, so it is neither done nor refused.
func TestFailuresAreAudited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, broken := range []struct {
		what string
		api  func()
	}{
		{"the store", func() { s.handler = newAPI(settings.Default(), brokenStore{s.store}, s.log) }},
		{"the code", func() { s.handler = newAPI(settings.Default(), nil, s.log) }}, // which panics
	} {
		broken.api()
		since := len(s.log.String())
		s.put(webPath, dataplaneJSON("web-1", "web"))
		wantLine(t, audited(s.log, since), "verb=PUT", "object="+webPath, "status=500", "outcome=failed")
	}
}

// A token that somebody put into a path is of no use to who reads the log.
func TestTokenInAPath(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	raw := sign(t, token.Claims{Mesh: "default", Name: "web-1"})
	s.send(request{method: "DELETE", path: "/tokens/" + raw})
	signature := raw[strings.LastIndex(raw, ".")+1:]
	if log := s.log.String(); !strings.Contains(log, "object=/tokens/eyJ") || strings.Contains(log, signature[:10]) {
		t.Errorf("the log has %s", log)
	}
}

// A Dataplane that a proxy brings along is a change, by its token, and so is that it goes with the proxy. One that was there
// already is none.
func TestWhatProxiesBringIsAudited(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.session(node(t, "default.web-1", brought(dataplane("web-1", "web")))).Close(false)
		w.session(node(t, "default.web-1", brought(dataplane("web-1", "web")))).Close(true)
		time.Sleep(time.Second)
		object := "object=" + webPath
		lines := audited(w.log, 0)
		if len(lines) != 2 {
			t.Fatalf("the audit log has %q", lines)
		}
		claims, err := token.Inspect(token.Raw(w.raw))
		if err != nil {
			t.Fatal(err)
		}
		wantLine(t, lines[:1], `actor="proxy web-1"`, "verb=PUT", object, "jti="+claims.ID, "outcome=done")
		wantLine(t, lines[1:], "actor=mesh-system:control-plane", "verb=DELETE", object, "outcome=done")
	})
}
