package testenv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
	"koguma/token"
)

// sender is a proxy that sends to backend and db all the time: requests, and over long TCP connections.
type sender struct {
	*testenv.Sidecar
	requests, echoes *testenv.Load
	streams          *testenv.Streams
}

func send(t *testing.T, s *testenv.Sidecar) *sender {
	t.Helper()
	settles(t, s.Dataplane.Name+"'s requests", s.Out("backend"), allowed)
	settles(t, s.Dataplane.Name+"'s connections", s.Out("db"), open)
	p := &sender{
		Sidecar:  s,
		requests: testenv.StartLoad(t.Context(), s.Out("backend"), 100),
		echoes:   testenv.StartEchoLoad(t.Context(), s.Out("db"), 25),
		streams:  testenv.StartStreams(t.Context(), s.Out("db"), 2),
	}
	t.Cleanup(p.streams.Stop)
	return p
}

// renew puts a new token into the file of a proxy, and waits until its stream came in by that.
func renew(t *testing.T, m *testenv.Mesh, s *testenv.Sidecar, life time.Duration) token.Claims {
	t.Helper()
	raw := token.Raw(strings.TrimSpace(m.Kumactl("generate", "dataplane-token", "--name="+s.Dataplane.Name,
		"--tag=kuma.io/service="+strings.Join(s.Dataplane.Services(), ","), fmt.Sprint("--valid-for=", life))))
	claims, err := token.Inspect(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := testenv.ReplaceFile(s.TokenFile, string(raw)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, s.Dataplane.Name+" to use its new token", func() error {
		used, err := m.CP.TokensInUse(t.Context(), "default")
		if err == nil && used[s.Dataplane.Name] != claims.ID {
			err = fmt.Errorf("it uses %q", used[s.Dataplane.Name])
		}
		return err
	})
	s.Token = raw
	return claims
}

// isOut waits until the agent has no stream, and then until the limit after the moment. No new connection may have been
// let in for longer than a second after that.
func isOut(t *testing.T, p *sender, from time.Time, limit time.Duration) {
	t.Helper()
	eventually(t, time.Until(from.Add(time.Second)), "the stream to be closed", func() error {
		connected, err := p.Connected(t.Context())
		if connected {
			err = errors.New("it is open")
		}
		return err
	})
	time.Sleep(time.Until(from.Add(limit)))
	allLost(t, "new connections", p.echoes.Calls(), from.Add(time.Second))
}

// allLost says whether calls got through after a moment.
func allLost(t *testing.T, what string, calls testenv.Calls, after time.Time) {
	t.Helper()
	switch first := calls.LostFrom(); {
	case first.IsZero():
		t.Errorf("%s still get through", what)
	case first.After(after):
		t.Errorf("%s got through for %v longer than they should have", what, first.Sub(after))
	}
}

// noneLostBefore says whether calls were lost before a moment.
func noneLostBefore(t *testing.T, what string, calls testenv.Calls, end time.Time) {
	t.Helper()
	if lost := calls.EndedBefore(end).Lost(); len(lost) > 0 {
		t.Errorf("%d %s were lost too early: %v", len(lost), what, lost)
	}
}

// Nothing is lost by the rotation of tokens and of the key that signs them; whoever is revoked after that is out, and
// the other instance of its service loses no request by it; whoever's token ends opens no new connection.
func TestWholeLifeOfTokens(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	m.Permit("backend", "web", "backend")
	m.Permit("db", "web", "db")
	dials := []string{"backend", "db"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Name: "web-1", Dials: dials},
		testenv.Proxy{Serves: []string{"web"}, Name: "web-2", Dials: dials},
	)
	stays, goes := send(t, all[1]), send(t, all[2])

	for range 3 {
		renew(t, m, all[1], time.Hour)
		renew(t, m, all[2], time.Hour)
	}
	if _, err := m.CP.Kumactl(t.Context(), "rotate", "signing-key", "--mesh=default"); err == nil {
		t.Error("the key went by which everybody had come in")
	}
	for _, s := range all {
		renew(t, m, s, time.Hour)
	}
	m.Kumactl("rotate", "signing-key", "--mesh=default")
	revoked := time.Now()
	for _, p := range []*sender{stays, goes} {
		for _, s := range p.streams.Spells() {
			if !s.Closed.IsZero() {
				t.Errorf("%s lost a long connection", p.Dataplane.Name)
			}
		}
	}

	m.Kumactl("revoke", "dataplane-token", "--token-file="+goes.TokenFile)
	isOut(t, goes, revoked, drain+time.Second)
	allLost(t, "requests", goes.requests.Calls(), revoked.Add(drain+time.Second))
	for _, s := range goes.streams.Spells() {
		if s.Closed.IsZero() || s.Closed.After(revoked.Add(drain+time.Second)) {
			t.Errorf("a long connection was closed after %v", s.Closed.Sub(revoked))
		}
	}
	noneLostBefore(t, "requests", goes.requests.Calls(), revoked)
	noneLostBefore(t, "new connections", goes.echoes.Calls(), revoked)
	goes.requests.Stop()
	goes.echoes.Stop()

	// What is open when the token ends stays open, and with it the requests.
	end := renew(t, m, all[1], 4*time.Second).ExpiresAt
	noneLost(t, stays.requests, 500)
	isOut(t, stays, end, 1500*time.Millisecond)
	noneLostBefore(t, "new connections", stays.echoes.Calls(), end)
	stays.echoes.Stop()
}
