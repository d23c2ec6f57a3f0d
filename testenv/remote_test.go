package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"koguma/testenv"
)

// machine is a network namespace with a hosts file and a home of its own. It goes with the test, however that ends.
type machine struct {
	t    *testing.T
	self *testenv.Process
	home string
}

// newMachines are two machines with one cable between them: 10.77.0.1, which both call cp.example, and 10.77.0.2.
func newMachines(t *testing.T) (one, two *machine) {
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n10.77.0.1 cp.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	one, two = newMachine(t, hosts), newMachine(t, hosts)
	a, b := one.links(), two.links()
	defer a.Close()
	defer b.Close()
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "cable"}, PeerName: "cable", PeerNamespace: netlink.NsPid(two.self.PID())}
	if err := a.LinkAdd(cable); err != nil {
		t.Fatal(err)
	}
	plug(t, a, "10.77.0.1/24")
	plug(t, b, "10.77.0.2/24")
	return one, two
}

// links are the machine's network devices.
func (m *machine) links() *netlink.Handle {
	m.t.Helper()
	ns, err := netns.GetFromPid(m.self.PID())
	if err != nil {
		m.t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		m.t.Fatal(err)
	}
	return h
}

// plug gives a machine's end of the cable its address, and turns on all that it has.
func plug(t *testing.T, h *netlink.Handle, address string) {
	t.Helper()
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lo", "cable"} {
		link, err := h.LinkByName(name)
		if err == nil && name == "cable" {
			err = h.AddrAdd(link, addr)
		}
		if err == nil {
			err = h.LinkSetUp(link)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func newMachine(t *testing.T, hosts string) *machine {
	t.Helper()
	self, err := testenv.Start(testenv.Command{
		Name: "namespace", Path: "unshare",
		Args: []string{"--net", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && echo ready && exec sleep 600`, hosts},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(self.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = testenv.Eventually(ctx, "a network namespace, which takes root", func() error {
		if self.Output() == "ready\n" {
			return nil
		}
		return fmt.Errorf("unshare says %q", self.Output())
	})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t, self, t.TempDir()}
}

// command runs on the machine, in its home.
func (m *machine) command(stdin string, env []string, args ...string) testenv.Command {
	enter := []string{"--target", strconv.Itoa(m.self.PID()), "--net", "--mount", "--wd=" + m.home, "--"}
	return testenv.Command{Name: args[0], Path: "nsenter", Args: append(enter, args...), Env: append(env, "HOME="+m.home), Stdin: stdin}
}

func (m *machine) run(stdin string, args ...string) (string, error) {
	m.t.Helper()
	return testenv.Run(m.t.Context(), m.command(stdin, nil, args...))
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.run("", args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// refused expects that a command fails and says so.
func (m *machine) refused(say string, args ...string) {
	m.t.Helper()
	if _, err := m.run("", args...); err == nil || !strings.Contains(err.Error(), say) {
		m.t.Errorf("%v: %v, want %q", args, err, say)
	}
}

// controlPlane runs one on the machine until the test ends or stop is called.
func (m *machine) controlPlane(env ...string) (cp *testenv.Process, stop func()) {
	m.t.Helper()
	cp, err := testenv.Start(m.command("", env, binary(m.t, "kuma-cp"), "run"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(cp.Kill)
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	err = testenv.Eventually(ctx, "the control plane to be up", func() error {
		if err := cp.Running(); err != nil {
			m.t.Fatal(err)
		}
		if !strings.Contains(cp.Output(), "the control plane is up") {
			return fmt.Errorf("%s", cp.Tail(3))
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return cp, func() {
		if err := cp.Stop(5 * time.Second); err != nil {
			m.t.Error(err)
		}
	}
}

func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := testenv.Binary(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// All five steps by which Kuma's first versions let an administrator in from another machine, as they are written.
func TestAdminServerFromAnotherMachine(t *testing.T) {
	t.Parallel()
	server, client := newMachines(t)
	kumactl := binary(t, "kumactl")

	// 1 to 3
	server.must(kumactl, "generate", "tls-certificate",
		"--cert-file="+server.home+"/cert", "--key-file="+server.home+"/key", "--type=server", "--cp-hostname=cp.example")
	public := []string{
		"KUMA_ADMIN_SERVER_PUBLIC_ENABLED=true", "KUMA_GENERAL_ADVERTISED_HOSTNAME=cp.example",
		"KUMA_ADMIN_SERVER_PUBLIC_TLS_CERT_FILE=" + server.home + "/cert", "KUMA_ADMIN_SERVER_PUBLIC_TLS_KEY_FILE=" + server.home + "/key",
		"KUMA_ADMIN_SERVER_PUBLIC_INTERFACE=10.77.0.1",
	}
	// 4
	for _, name := range []string{"cert", "other"} {
		client.must(kumactl, "generate", "tls-certificate",
			"--cert-file="+client.home+"/"+name+".pem", "--key-file="+client.home+"/"+name+".key", "--type=client")
	}
	clients := filepath.Join(server.home, "clients")
	server.must("mkdir", clients)
	server.must("cp", client.home+"/cert.pem", clients)
	public = append(public, "KUMA_ADMIN_SERVER_PUBLIC_CLIENT_CERTS_DIR="+clients)
	cp, stop := server.controlPlane(public...)
	// 5
	client.must(kumactl, "config", "control-planes", "add", "--name", "cp", "--address", "http://cp.example:5681",
		"--admin-client-cert", client.home+"/cert.pem", "--admin-client-key", client.home+"/cert.key")

	if raw := client.must(kumactl, "generate", "dataplane-token", "--name", "dp-echo-1", "--mesh", "default", "--type", "dataplane",
		"--tag", "kuma.io/service=backend,backend-admin"); !strings.HasPrefix(raw, "eyJ") {
		t.Errorf("no token: %q", raw)
	}
	client.must(kumactl, "get", "secrets")
	if _, err := client.run("type: Mesh\nname: m2\n", kumactl, "apply", "-f", "-"); err != nil {
		t.Error(err)
	}
	eventually(t, 2*time.Second, "the log to say who it was", func() error {
		if log := cp.Output(); !strings.Contains(log, `peer=10.77.0.2:`) || !strings.Contains(log, `certificate="CN=kumactl" fingerprint=`) {
			return errors.New(log)
		}
		return nil
	})
	add := []string{kumactl, "config", "control-planes", "add", "--address", "http://cp.example:5681"}
	client.refused("client certificate", append(add, "--name", "other", "--admin-client-cert", client.home+"/other.pem", "--admin-client-key", client.home+"/other.key")...)
	client.must(append(add, "--name", "plain")...)
	client.refused("there is nothing at this path", kumactl, "get", "meshes")
	server.must(kumactl, "get", "secrets") // on its own machine as ever
	stop()

	// The API for all to read, and under TLS as it is today. Nobody changes anything without a certificate.
	_, stop = server.controlPlane("KUMA_API_SERVER_HTTP_INTERFACE=0.0.0.0", "KUMA_API_SERVER_HTTPS_ENABLED=true",
		"KUMA_API_SERVER_HTTPS_TLS_CERT_FILE="+server.home+"/cert", "KUMA_API_SERVER_HTTPS_TLS_KEY_FILE="+server.home+"/key",
		"KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR="+clients)
	client.must(kumactl, "get", "meshes")
	client.refused("Access Denied", kumactl, "get", "secrets")
	client.refused("Access Denied", kumactl, "delete", "mesh", "m2")
	client.must(kumactl, "config", "control-planes", "add", "--name", "tls", "--address", "https://cp.example:5682", "--ca-cert-file", server.home+"/cert",
		"--client-cert-file", client.home+"/cert.pem", "--client-key-file", client.home+"/cert.key")
	client.refused("Access Denied", kumactl, "delete", "mesh", "m2", "--context", "plain")
	client.must(kumactl, "delete", "mesh", "m2")
	stop()
}
