package testenv_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// hear is a service manager's socket, and what comes to it. Nothing within a second is "".
func hear(t *testing.T) (env string, heard func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return "NOTIFY_SOCKET=" + path, func() string {
		b := make([]byte, 100)
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _ := conn.Read(b)
		return string(b[:n])
	}
}

// A service manager hears when the control plane and a proxy can be used, not before that, and when they end.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	node := m.Node(testenv.Proxy{Serves: []string{"web"}})
	definition, err := policy.EncodeYAML(node.Dataplane)
	if err != nil {
		t.Fatal(err)
	}
	m.CP.Kill() // so that no proxy becomes ready
	program, err := testenv.Binary("kuma-dp")
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := testenv.Envoy()
	if err != nil {
		t.Fatal(err)
	}
	env, heard := hear(t)
	agent, err := testenv.Start(testenv.Command{Name: "kuma-dp", Path: program, Env: []string{env}, Args: []string{
		"run", "--binary-path=" + envoy, "--work-dir=" + filepath.Join(m.Dir(), "watched"), "--cp-address=" + m.CP.DP, "--retry-backoff=100ms",
		"--dataplane-file=" + m.File(string(definition)), "--dataplane-token-file=" + m.File(string(node.Token)), "--concurrency=1", "--drain-time=0s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.Kill)
	if got := heard(); got != "" {
		t.Errorf("%q without a control plane", got)
	}
	m.StartCP()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hears := func(who string, heard func() string, want string) {
		t.Helper()
		for got := ""; got == ""; {
			if got = heard(); got != "" && got != want || ctx.Err() != nil {
				t.Fatalf("of %s %q is heard instead of %q", who, got, want)
			}
		}
	}
	hears("the agent", heard, "READY=1")
	if err := agent.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	hears("the agent", heard, "STOPPING=1")

	env, heard = hear(t)
	plane, err := testenv.StartControlPlane(ctx, t.TempDir(), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.Kill)
	hears("the control plane", heard, "READY=1")
	if err := plane.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	hears("the control plane", heard, "STOPPING=1")
}
