package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/agent"
	"koguma/certs"
	"koguma/token"
	"koguma/xds"
)

// between is an agent with two control planes of one store. It is with here; its Envoy has taken everything.
type between struct {
	*running
	here, there *fakeCP
	envoy       *envoyClient
	file        string // with the token
}

func startBetween(t *testing.T) *between {
	t.Helper()
	a, b := startCP(t), startCP(t)
	b.down()
	b.serverCA, b.meshCA = a.serverCA, a.meshCA
	b.set(func(s *xds.Snapshot) { s.Secrets = a.base.Secrets })
	b.up()
	cfg := config(t, a)
	m := &between{file: filepath.Join(t.TempDir(), "token")}
	m.put(t, cfg.Token)
	cfg.Token, cfg.TokenFile = "", m.file
	cfg.CPAddresses = []string{a.address, b.address}
	m.running = start(t, cfg)
	m.envoy = m.running.envoy()
	m.envoy.takeAll(identityName)
	keyPair(t, m.envoy.secret(identityName))
	m.here, m.there = a, b
	if b.streams() > 0 {
		m.here, m.there = b, a
	}
	m.here.await(xds.Acked, xds.TypeListener, 1)
	return m
}

func (m *between) put(t *testing.T, raw token.Raw) {
	t.Helper()
	if err := os.WriteFile(m.file+".next", []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(m.file+".next", m.file); err != nil {
		t.Fatal(err)
	}
}

// streams is how many are open.
func (cp *fakeCP) streams() (n int) {
	cp.read(func() { n = cp.open })
	return n
}

// shown is how often a token was.
func (cp *fakeCP) shown() (n int) {
	cp.read(func() { n = len(cp.tokens) })
	return n
}

// fail ends the stream, and refuses the next ones for the same reason.
func (cp *fakeCP) fail(err error) {
	cp.read(func() { cp.refusal = err; cp.end(err) })
}

func host(cp *fakeCP) string { return strings.TrimPrefix(cp.address, "https://") }

// moves waits until the agent is at the other control plane, which it should be soon.
func (m *between) moves(t *testing.T) {
	t.Helper()
	begin := time.Now()
	eventually(t, func() error {
		return contains(m.log, fmt.Sprintf(`msg="moved to another control plane" from=%s to=%s because="%s: `, host(m.here), host(m.there), host(m.here)))
	})
	soon(t, begin)
}

// Who has moved has what it had: its Envoy hears nothing of it, and nothing is signed. It does not go back by itself.
func TestMovesOnWhenAControlPlaneIsGone(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	m.here.down()
	m.moves(t)
	m.there.await(xds.Acked, xds.TypeListener, 1)
	m.there.await(xds.Acked, xds.TypeSecret, 1)
	m.envoy.none(50 * time.Millisecond)
	m.here.up()

	m.there.set(func(s *xds.Snapshot) { s.Listeners = xds.NewSet(listener(t, "l", "x")) })
	if got := namesIn(t, m.envoy.next(xds.TypeListener)); got != "l" {
		t.Errorf("listeners %q, want what the other control plane has", got)
	}
	if n := m.there.shown(); n != 1 {
		t.Errorf("came %d times, want once", n)
	}
	if n := m.here.shown(); n != 1 {
		t.Error("went back by itself")
	}
	m.there.read(func() {
		if m.there.issued != 0 || len(m.there.held) != 1 {
			t.Errorf("%d certificates were signed, %d brought along; want the one it had", m.there.issued, len(m.there.held))
		}
	})
	for _, level := range []string{"WARN", "ERROR"} {
		if contains(m.log, "level="+level) == nil {
			t.Errorf("something of level %s in the log", level)
		}
	}
	metrics, err := get(http.DefaultClient, m.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"control_plane_connected 1", "control_plane_moves_total 1", `control_plane_address{address="` + host(m.there) + `"} 1`} {
		if !strings.Contains(metrics, "\nkuma_dp_"+want+"\n") {
			t.Errorf("nothing of %q in the metrics", want)
		}
	}
	if id, err := get(http.DefaultClient, m.url("/identity")); err != nil || !strings.Contains(id, `"address":"`+host(m.there)+`"`) {
		t.Errorf("/identity does not name the control plane: %s, %v", id, err)
	}
	m.cancel()
	if err := m.wait(); err != nil {
		t.Error(err)
	}
	m.there.read(func() {
		if m.there.left != 1 {
			t.Error("the other control plane did not hear that the proxy leaves")
		}
	})
}

// Who is put out by one control plane asks the other, which may know better, and is as quiet about it.
func TestMovesOnWhenAControlPlaneLetsGo(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unavailable, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			m := startBetween(t)
			m.here.fail(status.Error(code, "not here"))
			m.moves(t)
			if n := m.here.shown(); n != 1 {
				t.Errorf("asked the first one %d times, want once", n)
			}
			if got, err := get(http.DefaultClient, m.url("/ready")); err != nil || strings.Contains(got, "not here") {
				t.Errorf("/ready says %q, %v", got, err)
			}
			if contains(m.log, "level=WARN") == nil {
				t.Error("a warning in the log")
			}
		})
	}
}

// When nobody lets the agent in, there are pauses, ever longer ones, and one line says why.
func TestPauseAfterARound(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	away := status.Error(codes.Unavailable, "the store is away")
	m.there.read(func() { m.there.refusal = away })
	m.here.fail(away)
	eventually(t, func() error { return contains(m.log, "not connected to the control plane; trying again") })
	before := m.here.shown() + m.there.shown()
	time.Sleep(time.Second)
	// The pauses are 0.1, 0.2, 0.4 s, give or take a half: 0.05 + 0.1 + 0.2 + 0.4 + 0.8 are more than a second.
	if n := m.here.shown() + m.there.shown() - before; n > 2*5 {
		t.Errorf("asked %d times in a second", n)
	}
	reason := fmt.Sprintf("%s: the store is away; %s: the store is away", host(m.here), host(m.there))
	if got, err := get(http.DefaultClient, m.url("/ready")); err != nil ||
		!strings.Contains(got, "not connected to the control plane since") ||
		strings.Count(got, ": the store is away") != 2 {
		t.Errorf("/ready says %q, %v; want %q", got, err, reason)
	}
	if n := strings.Count(m.log.String(), "level=WARN"); n > 2 { // one for each order of the two
		t.Errorf("%d warnings", n)
	}
	m.here.read(func() { m.here.refusal = nil })
	eventually(t, func() error {
		if m.here.streams() != 1 {
			return errors.New("not back")
		}
		return nil
	})
}

// Control planes that let the proxy in and let go of it at once are not gone round without a pause.
func TestPauseBetweenControlPlanesThatLetGo(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	going := status.Error(codes.Unavailable, "going")
	m.here.read(func() { m.here.end(going) })
	m.moves(t)
	if contains(m.log, "trying again") == nil {
		t.Error("a pause after the first one")
	}
	m.there.read(func() { m.there.end(going) })
	eventually(t, func() error { return contains(m.log, "not connected to the control plane; trying again") })
	eventually(t, func() error {
		if m.here.streams() != 1 {
			return errors.New("not back")
		}
		return nil
	})
}

// The agents of a control plane that is gone do not come to another all in one moment.
func TestMovesAreSpread(t *testing.T) {
	t.Parallel()
	var all []*between
	for range 10 {
		all = append(all, startBetween(t))
	}
	took := make([]time.Duration, len(all))
	var moved sync.WaitGroup
	for i, m := range all {
		begin := time.Now()
		m.here.down()
		moved.Go(func() {
			for m.there.shown() == 0 && time.Since(begin) < time.Second {
				time.Sleep(time.Millisecond)
			}
			took[i] = time.Since(begin)
		})
	}
	moved.Wait()
	if between := slices.Max(took) - slices.Min(took); between < 100*time.Millisecond { // by chance once in 10^5
		t.Errorf("all moved within %v: %v", between, took)
	}
}

// An agent whose name another has taken does not take it back elsewhere.
func TestRivalIsNoReasonToMove(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	m.here.read(func() { m.here.end(status.Error(codes.AlreadyExists, "a newer stream has taken over")) })
	eventually(t, func() error { return contains(m.log, "a newer stream has taken over") })
	time.Sleep(700 * time.Millisecond) // longer than a move takes
	if m.here.shown() != 1 || m.there.shown() != 0 {
		t.Error("took the name back at once")
	}
}

// A new token is shown where the stream is, and to the other control plane if it is refused there. Until it is let in, the
// stream stays.
func TestNewTokenThatOnlyOneKnows(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	next := newToken(t, token.Claims{Name: "web-1", Pin: certs.Pin(m.here.serverCA.Certificate())})
	m.here.read(func() {
		m.here.refuse = func(shown string) error {
			if shown == string(next) {
				return status.Error(codes.Unauthenticated, "token refused: no such key")
			}
			return nil
		}
	})
	gate := make(chan struct{})
	m.there.read(func() { m.there.gate = gate })
	m.put(t, next)
	eventually(t, func() error {
		if m.there.shown() != 1 {
			return errors.New("the other one was not asked")
		}
		return nil
	})
	if m.here.shown() != 2 || m.here.streams() != 1 {
		t.Errorf("%d tokens shown and %d streams open where the agent was, want 2 and 1", m.here.shown(), m.here.streams())
	}
	close(gate)
	m.moves(t)
	eventually(t, func() error {
		if m.here.streams() != 0 {
			return errors.New("the old stream is still open")
		}
		return nil
	})
	if contains(m.log, "level=WARN") == nil {
		t.Error("a warning in the log")
	}
}

// The next token is shown where the stream is again, whoever refused the one before.
func TestNewTokenAfterOneThatNobodyKnows(t *testing.T) {
	t.Parallel()
	m := startBetween(t)
	m.here.read(func() { m.here.end(status.Error(codes.Unavailable, "going")) })
	m.moves(t)
	m.here, m.there = m.there, m.here
	claims := token.Claims{Name: "web-1", Pin: certs.Pin(m.here.serverCA.Certificate())}
	bad, good := newToken(t, claims), newToken(t, claims)
	for _, cp := range []*fakeCP{m.here, m.there} {
		cp.read(func() {
			cp.refuse = func(shown string) error {
				if shown == string(bad) {
					return status.Error(codes.Unauthenticated, "token refused: no such key")
				}
				return nil
			}
		})
	}
	m.put(t, bad)
	eventually(t, func() error { return contains(m.log, "no stream with the new token; going on with the one before") })
	m.put(t, good)
	eventually(t, func() error {
		var newest string
		m.here.read(func() { newest = m.here.tokens[len(m.here.tokens)-1] })
		if newest != string(good) {
			return errors.New("the good one was not shown")
		}
		return nil
	})
	m.there.read(func() {
		if slices.Contains(m.there.tokens, string(good)) {
			t.Error("it was shown to the other one")
		}
	})
}

// Before anybody has let the proxy in, two refusals are final, also if there are more to ask; one may be a mistake.
func TestRefusalsOfTwo(t *testing.T) {
	t.Parallel()
	planes := []*fakeCP{startCP(t), startCP(t), startCP(t)}
	cfg := config(t, planes[0])
	cfg.CPAddresses = nil
	for _, cp := range planes {
		cp.down()
		cp.serverCA = planes[0].serverCA
		cp.refusal = status.Error(codes.Unauthenticated, "token refused: it was revoked")
		cp.up()
		cfg.CPAddresses = append(cfg.CPAddresses, cp.address)
	}
	err := start(t, cfg).wait()
	if err == nil || !strings.HasPrefix(err.Error(), "the control plane refused this proxy: ") || strings.Count(err.Error(), "it was revoked") != 2 {
		t.Errorf("error %v, want that two refused", err)
	}
	if n := planes[0].shown() + planes[1].shown() + planes[2].shown(); n != 2 {
		t.Errorf("%d were asked, want 2", n)
	}

	// A refusal is an answer, and no connection is none.
	planes[2].down()
	planes[0].down()
	for range 3 { // in whatever order
		err := start(t, cfg).wait()
		if err == nil || !strings.HasPrefix(err.Error(), "the control plane refused this proxy: ") {
			t.Errorf("error %v, want that one refused", err)
		}
	}
	planes[1].read(func() { planes[1].refusal = nil })
	r := start(t, cfg)
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
}

// The agents of one list spread over it, each with every control plane once.
func TestControlPlanesAreShuffled(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{Dataplane: web("web"), Token: newToken(t, token.Claims{}), CPAddresses: []string{
		"https://a:5678", "https://b:5678", "https://A:5678/", "https://[::1]:5678", "https://b:5678",
	}}
	first := map[string]int{}
	for range 60 {
		a, err := agent.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		order := a.ControlPlanes()
		if len(order) != 3 {
			t.Fatalf("control planes %q, want 3", order)
		}
		first[order[0]]++
	}
	for _, host := range []string{"a:5678", "b:5678", "[::1]:5678"} {
		if first[host] == 0 { // which chance does once in 10^10
			t.Errorf("nobody begins with %s", host)
		}
	}
}
