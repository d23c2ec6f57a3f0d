package testenv_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"koguma/testenv"
)

// pair is a mesh under mTLS in which web may reach backend.
func pair(t *testing.T, o testenv.Options) (m *testenv.Mesh, backend, web *testenv.Sidecar) {
	t.Helper()
	o.MTLS = true
	m = testenv.New(t, o)
	m.Permit("web-to-backend", "web", "backend")
	all := m.Start(testenv.Proxy{Serves: []string{"backend"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	settles(t, "web's requests", all[1].Out("backend"), allowed)
	return m, all[0], all[1]
}

// killEnvoy kills the Envoy of an agent, and waits until another one serves.
func killEnvoy(t *testing.T, s *testenv.Sidecar, probe string) {
	t.Helper()
	old := s.EnvoyPID()
	begin := time.Now()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the next Envoy to serve", func() error {
		if now := s.EnvoyPID(); now == old || now == 0 {
			return fmt.Errorf("there is none")
		}
		if got := httpAnswer(t.Context(), probe); got != allowed {
			return fmt.Errorf("a request gets %s", got)
		}
		return nil
	})
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("%s's Envoy served again after %v, want at most 2s", s.Dataplane.Name, took)
	}
}

// An Envoy that is killed is back within two seconds, also while there is no control plane.
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	m, backend, web := pair(t, testenv.Options{})
	killEnvoy(t, backend, web.Out("backend"))
	killEnvoy(t, web, web.Out("backend"))
	m.CP.Kill()
	killEnvoy(t, backend, web.Out("backend"))
	killEnvoy(t, web, web.Out("backend"))
	m.StartCP()
	m.Forbid("web-to-backend") // they follow the control plane as before
	settles(t, "web's requests", web.Out("backend"), denied)
}

// An agent that is killed takes its Envoy along, and the next one works in the same folder.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	_, backend, web := pair(t, testenv.Options{})
	envoy := backend.EnvoyPID()
	backend.Crash()
	eventually(t, 2*time.Second, "the Envoy to die with its agent", func() error {
		if testenv.Alive(envoy) {
			return fmt.Errorf("it is alive")
		}
		return nil
	})
	backend.Launch()
	backend.AwaitReady()
	settles(t, "web's requests", web.Out("backend"), allowed)
}
