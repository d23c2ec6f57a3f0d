package testenv_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// kumactl runs kumactl, which may fail.
func kumactl(t *testing.T, m *testenv.Mesh, args ...string) (output string, err error) {
	t.Helper()
	out, err := m.CP.Kumactl(t.Context(), args...)
	if err != nil {
		out += err.Error()
	}
	return out, err
}

// apply that waits comes back when the Envoys do what it says, and delete as well. Who is not connected does not hold it up.
func TestApplyWaits(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Apply("type: Dataplane\nmesh: default\nname: ghost-1\nnetworking:\n  address: 127.0.0.1\n  inbound:\n    - {port: 9, servicePort: 8, tags: {kuma.io/service: ghost}}\n")
	all := m.Start(testenv.Proxy{Serves: []string{"db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"db"}})
	web := all[1]
	file := m.File(permission("p", "{kuma.io/service: db}", "{kuma.io/service: web}") + "---\n" +
		permission("q", "{kuma.io/service: web}", "{kuma.io/service: web}"))
	// Envoy's workers are a moment behind its ACK.
	soon := func(want string) {
		t.Helper()
		eventually(t, time.Second, "a connection to be "+want, func() error {
			if got := tcpAnswer(t.Context(), web.Out("db")); got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	for range 5 {
		out, err := kumactl(t, m, "apply", "--wait", "-f", file)
		if err != nil || !strings.Contains(out, `mesh "default": 2 of 2 connected proxies have it`) {
			t.Fatalf("%v\n%s", err, out)
		}
		soon(open)
		if out, err := kumactl(t, m, "delete", "traffic-permission", "p", "--wait"); err != nil || !strings.Contains(out, "2 of 2 connected proxies") {
			t.Fatalf("%v\n%s", err, out)
		}
		soon(closed)
	}
	begin := time.Now()
	if out, err := kumactl(t, m, "apply", "--wait", "-f", file); err != nil {
		t.Fatal(out)
	}
	t.Logf("it took %v", time.Since(begin))
	// mTLS off by way of nothing in between, and on again.
	for _, mode := range []string{"", "\n  enabledBackend: ca-1"} {
		mesh := "type: Mesh\nname: default\nmtls:" + mode + "\n  backends: [{name: ca-1, type: builtin}]\n"
		if out, err := kumactl(t, m, "apply", "--wait", "-f", m.File(mesh)); err != nil {
			t.Fatal(out)
		}
		soon(open)
	}
}

// Those that have not taken it are named, with Envoy's words where it refused, and nobody else.
func TestApplyWaitsInVain(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	all := m.Start(testenv.Proxy{Serves: []string{"db:tcp", "extra:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"db"}})
	db := all[0]
	file := m.File(permission("p", `{kuma.io/service: "*"}`, "{kuma.io/service: web}"))
	if err := db.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	out, err := kumactl(t, m, "apply", "--wait", "--timeout=1s", "-f", file)
	if err == nil || !strings.Contains(out, "\n* db-1: listeners: it has not said that it has them") || strings.Contains(out, "* web-1") {
		t.Errorf("of one that stands still: %v\n%s", err, out)
	}
	if err := db.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if out, err := kumactl(t, m, "apply", "--wait", "-f", file); err != nil || !strings.Contains(out, "Unchanged") {
		t.Errorf("when it goes on: %v\n%s", err, out)
	}
	occupant, err := net.Listen("tcp", net.JoinHostPort(db.Address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer occupant.Close()
	moved := *db.Dataplane
	moved.Networking.Inbound = slices.Clone(moved.Networking.Inbound)
	moved.Networking.Inbound[1].Port = occupant.Addr().(*net.TCPAddr).Port
	for i, d := range []*policy.Dataplane{&moved, db.Dataplane} {
		yaml, err := policy.EncodeYAML(d)
		if err != nil {
			t.Fatal(err)
		}
		out, err := kumactl(t, m, "apply", "--wait", "--timeout=3s", "-f", m.File(string(yaml)))
		if i == 0 && (err == nil || !strings.Contains(out, "db-1: listeners: it refused them") || !strings.Contains(out, "Address already in use") || strings.Contains(out, "* web-1")) {
			t.Errorf("of one that refuses: %v\n%s", err, out)
		}
		if i == 1 && err != nil {
			t.Errorf("when it refuses no more: %s", out)
		}
	}
}
