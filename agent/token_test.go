package agent_test

import (
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/token"
	"koguma/xds"
)

// With an expired token the agent does not bother the control plane, and serves from memory. It is back by itself.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	exp := time.Now().Add(3 * time.Second).Truncate(time.Second)
	r := rotate(t, cp, token.Claims{ExpiresAt: exp})
	r.says("the token ends at " + exp.UTC().Format(time.RFC3339))
	r.counts(fmt.Sprintf("kuma_dp_token_not_after_seconds %v", float64(exp.Unix())))
	time.Sleep(time.Until(exp))
	cp.read(func() { cp.end(status.Error(codes.Unauthenticated, "token refused: it expired")) })
	r.says("the token expired at")
	eventually(t, func() error { return contains(r.log, "waiting for another") })
	again := r.running.envoy()
	again.takeAll(identityName)
	keyPair(t, again.secret(identityName))
	if n := r.attempts(); n != 1 {
		t.Errorf("%d streams were opened, want 1", n)
	}
	begin := time.Now()
	next := r.put(t, token.Claims{})
	eventually(t, func() error {
		if r.attempts() < 2 {
			return errors.New("not back")
		}
		return nil
	})
	soon(t, begin)
	cp.read(func() {
		if cp.tokens[1] != string(next) {
			t.Error("back with another token")
		}
	})
	if n := strings.Count(r.log.String(), "waiting for another"); n != 1 {
		t.Errorf("said %d times that it waits, want once", n)
	}
	if n := strings.Count(r.log.String(), "two thirds of the token's life are over"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}

// Whose token is revoked tries again ever more slowly, but at once with another one.
func TestTokenIsRevoked(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r := rotate(t, cp, token.Claims{})
	revoked := status.Error(codes.Unauthenticated, "token refused: it is revoked")
	cp.read(func() {
		cp.refusal = revoked
		cp.end(revoked)
	})
	r.says("it is revoked")
	eventually(t, func() error { // the pauses are long by now
		if n := r.attempts(); n < 5 {
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	cp.read(func() { cp.refusal = nil })
	begin := time.Now()
	r.uses(r.put(t, token.Claims{}))
	soon(t, begin)
	r.counts(`kuma_dp_token_reloads_total{result="refused"} 1`)
	r.follows(t, "after")
}

// The pin of a new token holds for the new stream.
func TestNewTokenWithAnotherPin(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	r.cp.down()
	r.cp.serverCA = newCA(t, "control-plane")
	r.cp.up()
	eventually(t, func() error { return contains(r.log, "certificate") })
	r.uses(r.put(t, token.Claims{}))
	if n := r.attempts(); n != 2 {
		t.Errorf("%d streams were opened, want 2: the token is shown to nobody without its pin", n)
	}
}

// A certificate that ends with the old token, soon, is renewed with the new one at once.
func TestCertificateThatTheOldTokenCutShort(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	exp := time.Now().Add(9 * time.Second).Truncate(time.Second)
	cp.sign = func(name string, key crypto.PublicKey) *xds.Resource {
		cp.life = min(time.Until(exp), time.Hour)
		return cp.issue(name, key)
	}
	r := rotate(t, cp, token.Claims{ExpiresAt: exp})
	if got := r.agentCertificateEnd(t); !got.Equal(exp) {
		t.Fatalf("the certificate ends at %v, want %v", got, exp)
	}
	exp = time.Now().Add(time.Hour)
	r.uses(r.put(t, token.Claims{}))
	begin := time.Now()
	keyPair(t, r.envoy.secret(identityName))
	soon(t, begin)
	cp.read(func() {
		if cp.issued != 2 || len(cp.keys) != 2 {
			t.Errorf("%d certificates for %d keys, want 2 for 2", cp.issued, len(cp.keys))
		}
	})
}

// A certificate that has ended with the token is made anew once, with the next one.
func TestCertificateThatEndedWithTheToken(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	exp := time.Now().Add(3 * time.Second).Truncate(time.Second)
	cp.sign = func(name string, key crypto.PublicKey) *xds.Resource {
		cp.life = time.Until(exp)
		return cp.issue(name, key)
	}
	r := rotate(t, cp, token.Claims{ExpiresAt: exp})
	time.Sleep(time.Until(exp))
	cp.read(func() { cp.end(status.Error(codes.Unauthenticated, "token refused: it expired")) })
	r.says("the token expired at")
	before := 0
	cp.read(func() { before, exp = cp.issued, time.Now().Add(time.Hour) })
	r.uses(r.put(t, token.Claims{}))
	eventually(t, func() error {
		if keyPair(t, r.envoy.secret(identityName)).NotAfter.Before(time.Now()) {
			return errors.New("the certificate is an old one")
		}
		return nil
	})
	cp.await(xds.Acked, xds.TypeListener, 2)
	cp.read(func() {
		if cp.issued != before+1 {
			t.Errorf("%d certificates were made, want 1", cp.issued-before)
		}
	})
}

// agentCertificateEnd is the end of the certificate as the metric has it.
func (r *rotated) agentCertificateEnd(t *testing.T) time.Time {
	t.Helper()
	text, err := get(http.DefaultClient, r.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "\nkuma_dp_certificate_not_after_seconds ")
	var end float64
	if _, err := fmt.Sscan(rest, &end); err != nil {
		t.Fatal(err)
	}
	return time.Unix(int64(end), 0)
}

// What is no token is said in all three places, and the stream goes on.
func TestFileIsSpoilt(t *testing.T) {
	t.Parallel()
	r := rotate(t, startCP(t), token.Claims{})
	if err := os.Truncate(r.file, 0); err != nil {
		t.Fatal(err)
	}
	r.says("\nthe token file is not used, the last good token stays")
	r.counts(`kuma_dp_token_reloads_total{result="rejected"} 1`)
	if err := contains(r.log, "the last good one stays"); err != nil {
		t.Error(err)
	}
	r.follows(t, "meanwhile")
	r.cp.read(func() { r.cp.end(status.Error(codes.Unavailable, "going")) })
	eventually(t, func() error {
		if r.attempts() < 2 {
			return errors.New("not back")
		}
		return nil
	})
	r.cp.read(func() {
		if r.cp.tokens[1] != r.cp.tokens[0] {
			t.Error("back with another token")
		}
	})
}

// A file without a good token at the start is an error at once.
func TestFileIsBadAtTheStart(t *testing.T) {
	t.Parallel()
	cfg := config(t, startCP(t))
	cfg.Token, cfg.TokenFile = "", filepath.Join(t.TempDir(), "token")
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
}

// Without a token none is sent, and a control plane that wants one has the agent say how to make it.
func TestNoToken(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	cfg.Token, cfg.CACert = "", cp.serverCA.CertPEM()
	r := start(t, cfg)
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
	if err := contains(r.log, "no token; only a control plane whose authentication is switched off"); err != nil {
		t.Error(err)
	}
	r.cancel()
	<-r.done
	cp.read(func() {
		if len(cp.tokens) > 0 {
			t.Error("something was shown as a token")
		}
		cp.refusal = status.Error(codes.Unauthenticated, "token refused: there is none")
	})
	err := start(t, cfg).wait()
	if err == nil || !strings.Contains(err.Error(), "there is none; make one with: kumactl generate dataplane-token --mesh default --name web-1") {
		t.Errorf("error %v", err)
	}
}

// A token without a pin is shown to the control plane of this host, as far as its CA can be believed.
func TestLocalCA(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	cfg.Token = newToken(t, token.Claims{Name: "web-1"})
	cfg.LocalCA = func() ([]byte, error) { return cp.serverCA.CertPEM(), nil }
	r := start(t, cfg)
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
	shown := 0
	cp.read(func() { shown = len(cp.tokens) })

	other := newCA(t, "other").CertPEM()
	for want, find := range map[string]func() ([]byte, error){
		"others can write":        func() ([]byte, error) { return nil, errors.New("others can write") },
		"CA of the control plane": func() ([]byte, error) { return []byte("x"), nil },
		"unknown authority":       func() ([]byte, error) { return other, nil },
		"certificate":             func() ([]byte, error) { return nil, nil },
	} {
		cfg := cfg
		cfg.RetryMax, cfg.LocalCA = 50*time.Millisecond, find
		if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	cfg.RetryMax, cfg.CPAddresses = 50*time.Millisecond, []string{"https://nowhere.invalid:5678"}
	cfg.LocalCA = func() ([]byte, error) { t.Error("asked for the CA of another host"); return nil, nil }
	if err := start(t, cfg).wait(); err == nil {
		t.Error("connected to nowhere")
	}
	cp.read(func() {
		if len(cp.tokens) != shown {
			t.Error("the token was shown to somebody who was not known")
		}
	})
}

// Rotations leave neither goroutines nor files open. Not parallel: it counts those of the whole process.
func TestRotationsLeaveNothing(t *testing.T) {
	r := rotate(t, startCP(t), token.Claims{})
	count := func() (goroutines, files int) {
		http.DefaultClient.CloseIdleConnections()
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(list)
	}
	const rotations = 8 // less than one of each for a rotation is other work of the process, such as its start
	goroutines, files := count()
	for range rotations {
		r.uses(r.put(t, token.Claims{}))
	}
	eventually(t, func() error {
		if g, f := count(); g >= goroutines+rotations || f >= files+rotations {
			return fmt.Errorf("%d goroutines and %d files, %d and %d before", g, f, goroutines, files)
		}
		return nil
	})
}
