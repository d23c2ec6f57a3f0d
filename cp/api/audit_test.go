package api_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp/api"
	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/token"
)

// Each attempt to change something leaves one line, whoever makes it and however it ends.
func TestEveryChangeIsAudited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	attempt := func(method, path, body, peer string) []string {
		since := len(s.log.String())
		s.send(request{method: method, path: path, body: body, peer: peer})
		return s.log.Audited(since)
	}
	strangers := 0 // each from elsewhere, as there is one line a second for each
	stranger := func() string { strangers++; return fmt.Sprintf("192.168.%d.%d:40000", strangers/256, strangers%256) }
	fill := strings.NewReplacer("{mesh}", "default", "{name}", "x")
	for _, r := range api.Routes() {
		if r.Method == "GET" {
			continue
		}
		path := fill.Replace(r.Path)
		cptest.WantLine(t, attempt(r.Method, path, "?", ""), "actor=mesh-system:admin", "verb="+r.Method, "object="+path, "outcome=refused")
		cptest.WantLine(t, attempt(r.Method, path, "?", stranger()), "actor=mesh-system:anonymous", "verb="+r.Method, "object="+path, "outcome=refused")
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
		cptest.WantLine(t, attempt(odd.method, odd.path, "", stranger()), "actor=mesh-system:anonymous", "object="+odd.object, "outcome=refused")
	}
	done := attempt("PUT", webPath, dataplaneJSON("web-1", "web"), "")
	cptest.WantLine(t, done, "actor=mesh-system:admin", "verb=PUT", "object="+webPath, "status=201", "outcome=done")
	for _, path := range []string{webPath, "/control-planes", "/meshes/default/dataplane-tokens", "/meshes/default/signing-keys"} {
		if lines := append(attempt("GET", path, "", ""), attempt("GET", path, "", stranger())...); lines != nil {
			t.Errorf("who reads what is not secret has a line: %q", lines)
		}
	}
	secret := secretPath(cptest.KeyName(1))
	cptest.WantLine(t, attempt("GET", secret, "", ""), "actor=mesh-system:admin", "verb=GET", "object="+secret, "outcome=done")
	cptest.WantLine(t, attempt("GET", secret, "", stranger()), "actor=mesh-system:anonymous", "verb=GET", "object="+secret, "outcome=refused")
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
		cptest.WantLine(t, s.log.Audited(since), "verb=PUT", "object="+webPath, "status=500", "outcome=failed")
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

// Who may change nothing and keeps trying has a line a second, which says how many attempts had none, whatever it tries. Others
// have theirs, and what an administrator does has one each.
func TestRefusedChangesDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		attempts := []request{{method: "PUT", path: webPath, body: "?"}, {method: "DELETE", path: "/nothing"}, {method: "GET", path: secretPath("x")}}
		const seconds, rate = 20, 100
		for i := range seconds * rate {
			r := attempts[i%len(attempts)]
			r.peer = fmt.Sprint("192.0.2.1:", 1+i%60000)
			s.send(r)
			time.Sleep(time.Second / rate)
		}
		s.send(request{method: "DELETE", path: webPath, peer: "192.0.2.1:1"})
		s.send(request{method: "DELETE", path: webPath, peer: "[2001:db8::1]:1"})
		for range 2 * rate {
			s.send(request{method: "DELETE", path: webPath})
		}
		lines, told, admin := s.log.Audited(0), 0, 0
		for _, line := range lines {
			if strings.Contains(line, "actor=mesh-system:admin ") {
				admin++
				continue
			}
			told++
			if m := regexp.MustCompile(`suppressed=(\d+)`).FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				told += n
			}
		}
		if others := len(lines) - admin; others != seconds+2 || told != seconds*rate+2 || admin != 2*rate {
			t.Errorf("%d lines of others tell of %d attempts, want %d and %d; %d of administrators, want %d",
				others, told, seconds+2, seconds*rate+2, admin, 2*rate)
		}
	})
}
