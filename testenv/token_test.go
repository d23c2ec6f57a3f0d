package testenv_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
	"koguma/token"
)

// sessions waits for the control plane to have so many.
func sessions(t *testing.T, m *testenv.Mesh, within time.Duration, want int) {
	t.Helper()
	eventually(t, within, "the number of sessions", func() error {
		n, err := m.Metric("koguma_sessions")
		if err == nil && n != fmt.Sprint(want) {
			err = fmt.Errorf("%s, want %d", n, want)
		}
		return err
	})
}

// refusals is how many streams the control plane has refused for a reason.
func refusals(m *testenv.Mesh, check string) string {
	n, err := m.Metric(fmt.Sprintf("koguma_refusals_total{check=%q}", check))
	if err != nil {
		return "0"
	}
	return n
}

// A token that ends while its proxy is connected closes the stream; requests go on, nobody is bothered with it any more,
// and a good one in the file brings the proxy back without a restart.
func TestTokenExpiresWhileConnected(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	short := token.Raw(strings.TrimSpace(m.Kumactl("generate", "dataplane-token", "--mesh=default", "--name=backend-1",
		"--tag=kuma.io/service=backend", "--valid-for=5s")))
	claims, err := token.Inspect(short)
	if err != nil {
		t.Fatal(err)
	}
	s, file := withTokenFile(t, m, testenv.Proxy{Serves: []string{"backend"}}, short)
	s.AwaitReady()
	envoy := s.EnvoyPID()
	load := testenv.StartLoad(t.Context(), s.In("backend"), 100)
	eventually(t, 10*time.Second, "a warning before the end", func() error {
		if !strings.Contains(s.Output(), "two thirds of the token's life are over") {
			return fmt.Errorf("none")
		}
		if now := time.Now(); now.After(claims.ExpiresAt) {
			return fmt.Errorf("none before the end")
		}
		return nil
	})
	sessions(t, m, time.Until(claims.ExpiresAt)+time.Second, 0)
	eventually(t, 2*time.Second, "the agent to say that it waits", func() error {
		if body := ready(t, s); !strings.HasPrefix(body, "200 READY\nthe token expired at ") {
			return fmt.Errorf("/ready says %q", body)
		}
		return nil
	})
	<-time.After(time.Second) // in which an agent that goes on trying would do so a few times
	if n := refusals(m, "expired"); n != "0" {
		t.Errorf("the agent tried the expired token %s times", n)
	}
	next := m.Token("default", "backend-1", "backend")
	replace(t, file, next)
	usesToken(t, s, next, 2*time.Second)
	if err := online(m, 1); err != nil {
		t.Error(err)
	}
	noneLost(t, load, 300)
	if now := s.EnvoyPID(); now != envoy {
		t.Errorf("envoy is %d, and was %d", now, envoy)
	}
}

// A token that is revoked closes the stream of its proxy and no other. The proxy is not let in again before it has
// another token, and then at once.
func TestTokenIsRevoked(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	bad := m.Token("default", "backend-1", "backend")
	s, file := withTokenFile(t, m, testenv.Proxy{Serves: []string{"backend"}}, bad)
	other := m.Start(testenv.Proxy{Serves: []string{"web"}})[0]
	s.AwaitReady()
	sessions(t, m, time.Second, 2)
	m.Apply("type: Secret\nmesh: default\nname: dataplane-token-revocations-default\ndata: " +
		base64.StdEncoding.EncodeToString([]byte(jti(t, bad))) + "\n")
	sessions(t, m, time.Second, 1)
	eventually(t, 5*time.Second, "the revoked token to be refused", func() error {
		if n := refusals(m, "revoked"); n == "0" {
			return fmt.Errorf("it was not tried")
		}
		if body := ready(t, s); !strings.Contains(body, "the control plane refuses the token") || !strings.Contains(body, "revoked") {
			return fmt.Errorf("/ready says %q", body)
		}
		return nil
	})
	if status, _, err := testenv.Get(t.Context(), "http://"+s.In("backend")); err != nil || status != http.StatusOK {
		t.Errorf("Envoy answers %d, %v", status, err)
	}
	next := m.Token("default", "backend-1", "backend")
	replace(t, file, next)
	usesToken(t, s, next, 2*time.Second)
	sessions(t, m, time.Second, 2)
	if strings.Contains(other.Output(), "not connected") {
		t.Error("the other proxy's stream was closed, too")
	}

	// One that is revoked already does not take the place of one that is good.
	replace(t, file, bad)
	eventually(t, 5*time.Second, "the agent to stay with the good one", func() error {
		if !strings.Contains(s.Output(), "no stream with the new token; going on with the one before") {
			return fmt.Errorf("it says nothing of that")
		}
		return nil
	})
	if err := online(m, 2); err != nil {
		t.Error(err)
	}
}
