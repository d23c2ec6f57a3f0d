package testenv_test

import (
	"fmt"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
)

// A proxy whose token is revoked is out of the mesh for everybody: nobody takes a new connection from it within a second,
// although its certificate has not ended; open ones from it and to it are closed when Envoy's drain time is over; and
// nobody is sent to it. Others of its service go on. What it was given for a token that is good again is good.
func TestRevoked(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	dials := []string{"backend", "db"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials, Name: "web-1"},
		testenv.Proxy{Serves: []string{"web", "cache:tcp"}, Dials: dials, Name: "web-2"},
		testenv.Proxy{Serves: []string{"front"}, Dials: []string{"web", "backend", "cache"}},
	)
	good, bad, front := all[1], all[2], all[3]
	n := town{Mesh: m, backend: all[0]}
	n.permit("p", "web front")
	m.Permit("q", "front", "web")
	m.Permit("r", "front", "cache")
	n.judged(t, good, true)
	n.judged(t, bad, true)
	settles(t, "front's requests to web", front.Out("web"), allowed)
	settles(t, "front's connections to cache", front.Out("cache"), open)
	badHTTP, badTCP := stream(t, bad.Out("backend")), hold(t, bad.Out("db"))
	frontHTTP, frontTCP := stream(t, front.Out("backend")), hold(t, front.Out("cache"))
	load := testenv.StartLoad(t.Context(), good.Out("backend"), 100)
	toWeb := testenv.StartLoad(t.Context(), front.Out("web"), 100)

	begin := time.Now()
	revoke(t, m, bad.Token)
	settles(t, "the revoked one's connections to db", bad.Out("db"), closed)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("new connections were taken for %v", took)
	}
	isCut(t, "the revoked one's HTTP stream", badHTTP, begin, drain+time.Second)
	isCut(t, "the revoked one's TCP connection", badTCP, begin, drain+time.Second)
	isCut(t, "front's TCP connection to the revoked one", frontTCP, begin, drain+time.Second)
	staysOpen(t, begin.Add(2*drain), map[string]*testenv.Stream{"front's HTTP stream": frontHTTP})
	n.judged(t, good, true)
	for name, l := range map[string]*testenv.Load{"web-1's to backend": load, "front's to web": toWeb} {
		if sent, _, lost := l.Stop(); len(lost) > 0 || sent < 100 {
			t.Errorf("of %d requests of %s, %d were lost: %v", sent, name, len(lost), lost)
		}
	}

	// The control plane has it in its store, and its proxies get it from there.
	n.CP.Kill()
	n.StartCP()
	m.Kumactl("delete", "secret", policy.RevocationsName("default"), "--mesh=default")
	n.judged(t, bad, true)
	n.judged(t, good, true)
}

// revoke puts a token on the list of its mesh.
func revoke(t *testing.T, m *testenv.Mesh, raw token.Raw) {
	t.Helper()
	claims, err := token.Inspect(raw)
	if err != nil {
		t.Fatal(err)
	}
	s := &policy.Secret{
		Meta: policy.Meta{Type: policy.TypeSecret, Mesh: claims.Mesh, Name: policy.RevocationsName(claims.Mesh)},
		Data: policy.Bytes(fmt.Sprintln(claims.ID)),
	}
	doc, err := policy.EncodeYAML(s)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(string(doc))
}
