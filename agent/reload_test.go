package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/certs"
	"koguma/token"
	"koguma/xds"
)

// rotated is an agent that follows a file, with an Envoy that has taken everything.
type rotated struct {
	*running
	cp    *fakeCP
	envoy *envoyClient
	file  string
}

// rotate starts an agent with a token in a file that says c.
func rotate(t *testing.T, cp *fakeCP, c token.Claims) *rotated {
	t.Helper()
	r := &rotated{cp: cp, file: filepath.Join(t.TempDir(), "token")}
	first := r.put(t, c)
	cfg := config(t, cp)
	cfg.Token, cfg.TokenFile = "", r.file
	r.running = start(t, cfg)
	r.envoy = r.running.envoy()
	r.envoy.takeAll(identityName)
	keyPair(t, r.envoy.secret(identityName))
	r.uses(first)
	return r
}

// put puts a new token into the file, all at once.
func (r *rotated) put(t *testing.T, c token.Claims) token.Raw {
	t.Helper()
	if c.Pin == "" {
		c.Pin = certs.Pin(r.cp.serverCA.Certificate())
	}
	raw := newToken(t, c)
	next := r.file + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(raw), 0o600), os.Rename(next, r.file)); err != nil {
		t.Fatal(err)
	}
	return raw
}

// uses waits until the control plane has let the agent in with a token, and has no other stream of it.
func (r *rotated) uses(raw token.Raw) {
	r.t.Helper()
	claims, err := token.Inspect(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, func() error {
		if err := contains(r.log, `msg="connected to the control plane" address=`+strings.TrimPrefix(r.cp.address, "https://")+" jti="+claims.ID); err != nil {
			return err
		}
		var err error
		r.cp.read(func() {
			if r.cp.open != 1 {
				err = fmt.Errorf("%d streams are open", r.cp.open)
			}
		})
		return err
	})
}

// soon fails the test if it is long since begin: by the next try, say, and not at once. The second that a new token may take
// is measured by the drill; a busy machine may need more.
func soon(t *testing.T, begin time.Time) {
	t.Helper()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v, want 3s at most", took)
	}
}

// says waits for the readiness to say something.
func (r *rotated) says(text string) {
	r.t.Helper()
	eventually(r.t, func() error {
		got, err := get(http.DefaultClient, r.url("/ready"))
		if err == nil && !strings.Contains(got, text) {
			err = fmt.Errorf("/ready says %q, and nothing of %q", got, text)
		}
		return err
	})
}

// counts waits for a metric to have a value.
func (r *rotated) counts(metric string) {
	r.t.Helper()
	eventually(r.t, func() error {
		got, err := get(http.DefaultClient, r.url("/metrics"))
		if err == nil && !strings.Contains(got+"\n", "\n"+metric+"\n") {
			err = fmt.Errorf("no metric is %s:\n%s", metric, got)
		}
		return err
	})
}

// attempts is how many streams the control plane has seen begin.
func (r *rotated) attempts() (n int) {
	r.cp.read(func() { n = len(r.cp.nodes) })
	return n
}

// follows makes sure that what the control plane sends arrives at Envoy.
func (r *rotated) follows(t *testing.T, name string) {
	t.Helper()
	r.cp.set(func(s *xds.Snapshot) { s.Clusters = xds.NewSet(edsCluster(t, name)) })
	resp := r.envoy.next(xds.TypeCluster)
	r.envoy.ack(resp)
	if got := namesIn(t, resp); !slices.Contains(strings.Fields(got), name) { // others may go a little later
		t.Errorf("clusters %q, want %q", got, name)
	}
}

// With a new token there is a new stream before the old one is gone; nothing is made anew, and Envoy hears nothing of it.
func TestNewToken(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	for range 3 {
		begin := time.Now()
		r.uses(r.put(t, token.Claims{}))
		soon(t, begin)
	}
	r.envoy.none(100 * time.Millisecond)
	r.cp.await(xds.Acked, xds.TypeSecret, 4)
	r.follows(t, "after")
	r.counts(`kuma_dp_token_reloads_total{result="accepted"} 3`)
	r.counts(`kuma_dp_control_plane_connected 1`)
	r.cp.read(func() {
		if r.cp.issued != 1 || len(r.cp.keys) != 1 || r.cp.left != 0 || len(r.cp.nodes) != 4 {
			t.Errorf("%d certificates, %d keys, %d goodbyes, %d streams; want 1, 1, 0, 4",
				r.cp.issued, len(r.cp.keys), r.cp.left, len(r.cp.nodes))
		}
	})
	if strings.Contains(r.log.String(), "not connected") || strings.Contains(r.log.String(), "eyJ") {
		t.Error("there was a gap, or there is a token in the log")
	}
}

// Tokens that come faster than the control plane answers are passed over, but for the last.
func TestNewTokensFasterThanAnswers(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	gate := make(chan struct{})
	r.cp.read(func() { r.cp.gate = gate })
	var last token.Raw
	for range 4 {
		accepted := strings.Count(r.log.String(), `msg="new token"`)
		last = r.put(t, token.Claims{})
		eventually(t, func() error {
			if strings.Count(r.log.String(), `msg="new token"`) == accepted {
				return errors.New("not noticed")
			}
			return nil
		})
	}
	r.cp.read(func() { r.cp.gate = nil })
	close(gate)
	r.uses(last)
	r.follows(t, "after")
	if n := r.attempts(); n > 3 {
		t.Errorf("%d streams were opened, want 3: with the first, the second and the last token", n)
	}
}

// A new token that the control plane refuses changes nothing for the stream there is. It is tried again, for the key may
// come; and at once when there is another.
func TestNewTokenIsRefused(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	refused := r.put(t, token.Claims{})
	r.cp.read(func() {
		r.cp.refuse = func(text string) error {
			if text == string(refused) {
				return status.Error(codes.Unauthenticated, "token refused: it is revoked")
			}
			return nil
		}
	})
	r.says("the control plane refuses the token")
	r.says("it is revoked")
	eventually(t, func() error { return contains(r.log, "no stream with the new token; going on with the one before") })
	r.follows(t, "meanwhile")
	eventually(t, func() error {
		if n := r.attempts(); n < 4 {
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	r.counts(`kuma_dp_token_reloads_total{result="refused"} 1`)
	r.counts(`kuma_dp_control_plane_connected 1`)
	r.cp.read(func() { r.cp.refuse = nil })
	r.uses(refused)
	got, err := get(http.DefaultClient, r.url("/ready"))
	if err != nil || strings.Contains(got, "refuses") {
		t.Errorf("/ready says %q, %v", got, err)
	}
	r.follows(t, "after")
}

// The control plane that is unwell when the token changes is asked again, while the old stream lives.
func TestNewTokenMeetsFailure(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	r.cp.read(func() {
		r.cp.refuse = func(string) error { return status.Error(codes.Unavailable, "the store is away") }
	})
	next := r.put(t, token.Claims{})
	eventually(t, func() error { return contains(r.log, "the store is away") })
	r.follows(t, "meanwhile")
	r.cp.read(func() { r.cp.refuse = nil })
	r.uses(next)
	r.counts(`kuma_dp_token_reloads_total{result="refused"} 0`)
}

// When the old stream dies while the new one is being opened, the new one is the next.
func TestOldStreamDiesMeanwhile(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	gate := make(chan struct{})
	r.cp.read(func() { r.cp.gate = gate })
	next := r.put(t, token.Claims{})
	eventually(t, func() error {
		if r.attempts() < 2 {
			return errors.New("no attempt")
		}
		return nil
	})
	r.cp.read(func() { r.cp.end(status.Error(codes.Unavailable, "going")) })
	eventually(t, func() error { return contains(r.log, "going") })
	r.cp.read(func() { r.cp.gate = nil })
	close(gate)
	r.uses(next)
	r.follows(t, "after")
	if n := r.attempts(); n != 2 {
		t.Errorf("%d streams were opened, want 2", n)
	}
}
