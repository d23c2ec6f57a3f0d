package testenv_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/testenv"
)

// endpoints are where the Envoy of an agent would send requests for a service.
func endpoints(ctx context.Context, s *testenv.Sidecar, service string) (list []string, err error) {
	clusters, err := s.Admin(ctx, "/clusters")
	for line := range strings.Lines(clusters) {
		// backend::127.200.1.2:10001::cx_active::1
		if f := strings.Split(strings.TrimSpace(line), "::"); len(f) == 4 && f[0] == service && f[2] == "cx_active" {
			list = append(list, f[1])
		}
	}
	return list, err
}

// An agent that is asked to end takes its instance out of the mesh at once, and no request is lost by it; nor is one when
// it comes back.
func TestAgentLeaves(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("p", "web", "backend")
	instance := func(n int) testenv.Proxy {
		return testenv.Proxy{Name: fmt.Sprint("backend-", n), Serves: []string{"backend"}, Args: []string{"--drain-time=5s"}}
	}
	all := m.Start(instance(1), instance(2), instance(3), testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	leaver, web := all[0], all[3]
	settles(t, "web's requests", web.Out("backend"), allowed)
	known := func(want int) func() error {
		return func() error {
			list, err := endpoints(t.Context(), web, "backend")
			if err == nil && len(list) != want {
				err = fmt.Errorf("it knows %v", list)
			}
			return err
		}
	}
	eventually(t, 10*time.Second, "web's Envoy to know all instances", known(3))
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 200)
	envoy := leaver.EnvoyPID()
	begin := time.Now()
	if err := leaver.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the endpoint to be gone from web's Envoy", known(2))
	t.Logf("the endpoint was gone after %v", time.Since(begin))
	select {
	case <-leaver.Done():
		t.Logf("the agent was gone after %v", time.Since(begin))
	case <-time.After(10 * time.Second):
		t.Fatal("the agent has not ended")
	}
	if testenv.Alive(envoy) {
		t.Error("its Envoy is alive")
	}
	eventually(t, 5*time.Second, "its Dataplane to be gone", func() error {
		if list := m.Kumactl("get", "dataplanes"); strings.Contains(list, "backend-1") {
			return fmt.Errorf("there are\n%s", list)
		}
		return nil
	})
	leaver.Launch()
	leaver.AwaitReady()
	eventually(t, 5*time.Second, "web's Envoy to know all instances again", known(3))
	goal := load.Sent() + 100
	eventually(t, 5*time.Second, "requests to be sent", func() error {
		if load.Sent() < goal {
			return fmt.Errorf("too few")
		}
		return nil
	})
	noneLost(t, load, 200)
}
