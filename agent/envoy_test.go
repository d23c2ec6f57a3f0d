package agent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/agent"
	"koguma/certs"
	"koguma/envoy"
	"koguma/policy"
	"koguma/xds"
)

// realEnvoy is the path of Envoy itself.
func realEnvoy(t testing.TB) string {
	t.Helper()
	path := os.Getenv("KOGUMA_ENVOY")
	if path == "" {
		path = filepath.Join("..", ".tools", "envoy", "bin", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Envoy; run make tools: %v", err)
	}
	return path
}

// serve gives cp the configuration of a proxy that takes HTTP requests of the service "client" for a workload, and
// returns where.
func serve(t testing.TB, cp *fakeCP) netip.AddrPort {
	t.Helper()
	workload := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(workload.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	at := netip.MustParseAddrPort(free.Addr().String())
	snapshot, err := new(xds.Builder).Build(&xds.View{
		Mesh: "default", Service: "web", MTLS: true, Roots: string(cp.meshCA.CertPEM()),
		Inbounds: []xds.Inbound{{
			Listen: at, Workload: netip.MustParseAddrPort(workload.Listener.Addr().String()), Service: "web",
			Protocol: policy.ProtocolHTTP, Sources: []policy.Source{{Service: "client"}}, Callers: []string{"client"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cp.set(func(s *xds.Snapshot) { *s = *snapshot })
	return at
}

// client is an HTTP client with the identity of the service "client".
func client(t testing.TB, cp *fakeCP) *http.Client {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, err := certs.WorkloadID("default", "client")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := cp.meshCA.Issue(t.Context(), certs.Request{Key: key.Public(), ID: id, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := certs.WorkloadID("default", "web")
	cert := tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, ServerName: xds.ServerName("client", "web", "default"),
		InsecureSkipVerify: true, // the names are checked here:
		VerifyConnection: func(s tls.ConnectionState) error {
			return certs.Check(s.PeerCertificates, []*x509.Certificate{cp.meshCA.Certificate()}, web, time.Now())
		},
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strconv.Itoa(resp.StatusCode) + " " + strings.TrimSpace(string(body)), err
}

// url is that of the readiness, which the agent logs.
func (r *running) url(path string) string {
	r.t.Helper()
	var base string
	eventually(r.t, func() error {
		found := regexp.MustCompile(`url=(http://[0-9.:]+)/ready`).FindStringSubmatch(r.log.String())
		if found == nil {
			return errors.New("no readiness")
		}
		base = found[1]
		return nil
	})
	return base + path
}

func (r *running) awaitReady(want string) {
	r.t.Helper()
	eventually(r.t, func() error {
		if got, err := get(http.DefaultClient, r.url("/ready")); err != nil || !strings.HasPrefix(got, want) {
			return fmt.Errorf("readiness %q %v, want %q", got, err, want)
		}
		return nil
	})
}

// envoyPID is the process whose bootstrap is in the agent's directory; 0 if there is none.
func (r *running) envoyPID() int {
	r.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, file := range all {
		if text, _ := os.ReadFile(file); bytes.Contains(text, []byte(r.dir+"/")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}

// A real Envoy serves with the certificate; killed while the control plane is away, it is back and serves again; no
// secret is anywhere but in memory; a shutdown waits for open connections and leaves nothing.
func TestRealEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	at := serve(t, cp)
	cfg := config(t, cp)
	cfg.EnvoyBinary, cfg.EnvoyLogLevel, cfg.Concurrency, cfg.DrainTime = realEnvoy(t), "warning", 1, time.Minute
	r := start(t, cfg)
	c := client(t, cp)
	r.awaitReady("200 READY")
	wantHello(t, c, at)

	cp.down()
	pid := r.envoyPID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.awaitReady("503 NOT_READY: envoy")
	r.awaitReady("200 READY")
	wantHello(t, c, at)
	metrics, err := get(http.DefaultClient, r.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kuma_dp_envoy_starts_total 2", "kuma_dp_control_plane_connected 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics without %q:\n%s", want, metrics)
		}
	}
	searchSecrets(t, r, cfg)

	r.cancel()
	r.awaitReady("503 TERMINATING")
	select {
	case <-r.done:
		t.Error("the agent ended, although a connection is open")
	case <-time.After(time.Second):
	}
	r.agent.Hurry()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if pid := r.envoyPID(); pid != 0 {
		t.Errorf("envoy still runs as %d", pid)
	}
}

func wantHello(t *testing.T, c *http.Client, at netip.AddrPort) {
	t.Helper()
	c.CloseIdleConnections()
	got, err := get(c, "https://"+at.String())
	if err != nil || got != "200 hello" {
		t.Errorf("answer %q %v", got, err)
	}
}

// searchSecrets looks for the token and for private keys wherever others could find them.
func searchSecrets(t *testing.T, r *running, cfg agent.Config) {
	t.Helper()
	places := map[string][]byte{"log": []byte(r.log.String())}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			places[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(r.envoyPID())
	for _, name := range []string{"cmdline", "environ"} {
		if places["envoy's "+name], err = os.ReadFile(filepath.Join("/proc", pid, name)); err != nil {
			t.Error(err)
		}
	}
	sockets, _ := filepath.Glob(filepath.Join(r.dir, "kuma-dp-*", "admin.sock"))
	dump, err := envoy.Admin{Socket: sockets[0]}.ConfigDump(context.Background())
	if err != nil {
		t.Error(err)
	}
	places["config dump"] = dump
	if len(places) < 5 || !bytes.Contains(dump, []byte("SecretsConfigDump")) {
		t.Errorf("only %d places were searched", len(places))
	}
	for name, content := range places {
		for _, secret := range []string{string(cfg.Token), "eyJ", "PRIVATE KEY"} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has %.12q in it", name, secret)
			}
		}
	}
}

// With nobody connected a shutdown does not wait.
func TestDrainOfIdleEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	serve(t, cp)
	cfg := config(t, cp)
	cfg.EnvoyBinary, cfg.EnvoyLogLevel, cfg.Concurrency, cfg.DrainTime = realEnvoy(t), "warning", 1, time.Minute
	r := start(t, cfg)
	r.awaitReady("200 READY")
	began := time.Now()
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
}

// A certificate that is renewed reaches the peers of a real Envoy without a request lost.
func TestRenewalWithRealEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 3 * time.Second
	at := serve(t, cp)
	cfg := config(t, cp)
	cfg.EnvoyBinary, cfg.EnvoyLogLevel, cfg.Concurrency = realEnvoy(t), "warning", 1
	r := start(t, cfg)
	r.awaitReady("200 READY")
	c := client(t, cp)
	serials := map[string]bool{}
	check := c.Transport.(*http.Transport).TLSClientConfig.VerifyConnection
	c.Transport.(*http.Transport).TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
		serials[s.PeerCertificates[0].SerialNumber.String()] = true
		return check(s)
	}
	for end := time.Now().Add(2 * cp.life); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		wantHello(t, c, at)
	}
	if len(serials) < 3 {
		t.Errorf("%d certificates within two lives", len(serials))
	}
}

// The agent ends with an Envoy that ends, when it was told to.
func TestExitWithEnvoy(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	cfg.ExitWithEnvoy = true
	if err := os.WriteFile(cfg.EnvoyBinary, []byte("#!/bin/sh\nsleep 0.2; exit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}

// Without an Envoy there is no agent.
func TestNoEnvoy(t *testing.T) {
	t.Parallel()
	cfg := config(t, startCP(t))
	cfg.EnvoyBinary = "/does/not/exist"
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("error %v", err)
	}
}

// Several agents on one host need no port set by hand; one that is set and taken is an error.
func TestReadinessPort(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	a, b := start(t, config(t, cp)), start(t, config(t, cp))
	if a.url("/ready") == b.url("/ready") {
		t.Error("two agents with one port")
	}
	cfg := config(t, cp)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg.ReadinessPort = int(netip.MustParseAddrPort(taken.Addr().String()).Port())
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "KUMA_READINESS_PORT") {
		t.Errorf("error %v", err)
	}
}
