package bootstrap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/bootstrap"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What Build makes is what the golden files have, byte for byte, and the real Envoy takes each without a warning.
func TestBuild(t *testing.T) {
	t.Parallel()
	agent := bootstrap.Params{
		NodeID:      "default.backend-1",
		Cluster:     "backend",
		Metadata:    map[string]any{"version": map[string]any{"kumaDp": "1.0"}, "features": []any{"a", "b"}, "n": "no"},
		AdminSocket: "/run/kuma-dp/admin.sock",
		Socket:      "/run/kuma-dp/ads.sock",
	}
	delta := agent
	delta.Delta = true
	direct := agent
	direct.Socket = ""
	direct.Direct = &bootstrap.Direct{Host: "cp.example", Port: 5678, ServerName: "kuma-cp", CA: ca(t), Token: "a.b.c"}
	ip := direct
	ip.Delta = true
	ip.Direct = &bootstrap.Direct{Host: "::1", Port: 5678, CA: ca(t), Token: "a.b.c"}

	for name, params := range map[string]bootstrap.Params{
		"agent": agent, "agent-delta": delta, "direct-name": direct, "direct-ip": ip,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", name+".json")
			got := build(t, params)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			validate(t, golden)
		})
	}
}

// The same parameters give the same bytes, whatever the order of the metadata.
func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	params := func() bootstrap.Params {
		p := good()
		p.Metadata = map[string]any{"a": 1, "b": 2, "c": map[string]any{"d": 3, "e": 4}, "f": []any{1, 2}}
		return p
	}
	first := build(t, params())
	for range 20 {
		if got := build(t, params()); !bytes.Equal(first, got) {
			t.Fatalf("%s\nis not\n%s", got, first)
		}
	}
}

// Between agent and Envoy there is nothing to steal.
func TestAgentBootstrapHoldsNoSecret(t *testing.T) {
	t.Parallel()
	text := string(build(t, good()))
	for _, word := range []string{"authorization", "initial_metadata", "private_key", "BEGIN"} {
		if strings.Contains(text, word) {
			t.Errorf("has %q", word)
		}
	}
}

// What Envoy would choke on later is refused here, by name, and no refusal repeats a token or key.
func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	direct := func(change func(*bootstrap.Direct)) func(*bootstrap.Params) {
		return func(p *bootstrap.Params) {
			p.Socket = ""
			p.Direct = &bootstrap.Direct{Host: "cp", Port: 5678, CA: ca(t), Token: "canary.b.c"}
			change(p.Direct)
		}
	}
	for name, test := range map[string]struct {
		change func(*bootstrap.Params)
		want   string
	}{
		"no id":           {func(p *bootstrap.Params) { p.NodeID = "" }, "no node id"},
		"no admin":        {func(p *bootstrap.Params) { p.AdminSocket = "" }, `admin socket "": not an absolute path`},
		"relative":        {func(p *bootstrap.Params) { p.Socket = "ads.sock" }, `ADS socket "ads.sock": not an absolute path`},
		"long admin":      {func(p *bootstrap.Params) { p.AdminSocket = pathOf(108) }, "108 bytes, and a socket's path has at most 107"},
		"long ADS":        {func(p *bootstrap.Params) { p.Socket = pathOf(200) }, "200 bytes, and a socket's path has at most 107"},
		"no server":       {func(p *bootstrap.Params) { p.Socket = "" }, "exactly one of"},
		"two servers":     {func(p *bootstrap.Params) { p.Direct = new(bootstrap.Direct) }, "exactly one of"},
		"metadata":        {func(p *bootstrap.Params) { p.Metadata = map[string]any{"c": make(chan int)} }, "node metadata"},
		"no host":         {direct(func(d *bootstrap.Direct) { d.Host = "" }), "no host"},
		"port 0":          {direct(func(d *bootstrap.Direct) { d.Port = 0 }), "port 0"},
		"port 65536":      {direct(func(d *bootstrap.Direct) { d.Port = 65536 }), "port 65536"},
		"token with CRLF": {direct(func(d *bootstrap.Direct) { d.Token = "canary\r\nx: y" }), "blanks or characters"},
		"no CA":           {direct(func(d *bootstrap.Direct) { d.CA = nil }), "no certificate"},
		"CA not PEM":      {direct(func(d *bootstrap.Direct) { d.CA = []byte("canary") }), "no certificate"},
		"CA with its key": {direct(func(d *bootstrap.Direct) { d.CA = append(d.CA, key(t)...) }), "block 2 is a EC PRIVATE KEY"},
		"CA broken": {direct(func(d *bootstrap.Direct) {
			d.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("canary")})
		}), "certificate 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := good()
			test.change(&p)
			_, err := bootstrap.Build(p)
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("says what must stay secret: %q", err)
			}
		})
	}
}

// A path of exactly 107 bytes is the longest.
func TestLongestSocketPath(t *testing.T) {
	t.Parallel()
	p := good()
	p.AdminSocket, p.Socket = pathOf(107), pathOf(106)
	build(t, p)
}

func good() bootstrap.Params {
	return bootstrap.Params{NodeID: "default.web-1", Cluster: "web", AdminSocket: "/a/admin.sock", Socket: "/a/ads.sock"}
}

func build(t *testing.T, p bootstrap.Params) []byte {
	t.Helper()
	b, err := bootstrap.Build(p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := bootstrap.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// validate shows file to the real Envoy.
func validate(t *testing.T, file string) {
	t.Helper()
	binary := os.Getenv("KOGUMA_ENVOY")
	if binary == "" {
		binary = "../.tools/envoy/bin/envoy"
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("no Envoy; run make tools: %v", err)
	}
	said, err := exec.Command(binary, "--mode", "validate", "--log-level", "warning", "--config-path", file).CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(said), []byte("OK")) {
		t.Errorf("Envoy refuses it: %v\n%s", err, said)
	}
	if bytes.Contains(said, []byte("[warning]")) {
		t.Errorf("Envoy warns: %s", said)
	}
}

func ca(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func key(t *testing.T) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func pathOf(n int) string { return "/" + strings.Repeat("s", n-1) }
