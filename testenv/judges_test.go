package testenv_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/certs/certstest"
	"koguma/testenv"
	"koguma/token"
)

// authority is a kind of CA: its backend in the Mesh, in YAML, and its roots. Those of a builtin one are the mesh's to say.
type authority struct {
	backend string
	roots   []*x509.Certificate
}

// authorities are the CAs whose identities are judged. Another one is another row.
func authorities() map[string]func(t *testing.T) authority {
	return map[string]func(t *testing.T) authority{
		"builtin EC": func(*testing.T) authority { return authority{backend: "{name: ca-1, type: builtin}"} },
		"builtin RSA": func(*testing.T) authority {
			return authority{backend: "{name: ca-1, type: builtin, conf: {caCert: {RSAbits: 2048}}}"}
		},
	}
}

// What is an identity to us is one to SPIFFE's own library and to OpenSSL: of each kind of CA, and in each of the ways in
// which a proxy can come by it. And OpenSSL takes part in the mesh with one, as a client and as a server.
func TestIndependentJudges(t *testing.T) {
	t.Parallel()
	for name, authority := range authorities() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := authority(t)
			m := testenv.New(t, testenv.Options{})
			m.Apply("type: Mesh\nname: default\nmtls: {enabledBackend: ca-1, backends: [" + a.backend + "]}\n")
			if a.roots == nil {
				a.roots = m.Roots("default")
			}
			m.Permit("all", "web lone", "*")
			judged(t, m, a.roots)
		})
	}
}

func judged(t *testing.T, m *testenv.Mesh, roots []*x509.Certificate) {
	t.Helper()
	short := m.Prepare(testenv.Proxy{Serves: []string{"short"}})
	raw := m.Kumactl("generate", "dataplane-token", "--mesh=default", "--name=short-1", "--tag=kuma.io/service=short", "--valid-for=1h")
	if err := testenv.ReplaceFile(short.TokenFile, raw); err != nil {
		t.Fatal(err)
	}
	short.Launch()
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "backend-admin"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}},
	)
	backend, web := all[0], all[1]
	bare := m.StartBare(testenv.Proxy{Serves: []string{"bare"}}, true)
	short.AwaitReady()
	for service, address := range map[string]string{
		"backend": backend.In("backend"), "backend-admin": backend.In("backend-admin"), "bare": bare.In("bare"), "short": short.In("short"),
	} {
		chain, err := testenv.ServerChain(t.Context(), address, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := certstest.Judge(t, chain, roots, nil, "spiffe://default/"+service); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		if claims, err := token.Inspect(token.Raw(strings.TrimSpace(raw))); err != nil || service == "short" && chain[0].NotAfter.After(claims.ExpiresAt) {
			t.Errorf("a certificate that ends at %v, for a token that ends at %v; %v", chain[0].NotAfter, claims.ExpiresAt, err)
		}
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for kind, cert := range map[string]*tls.Certificate{
		"key of the control plane": m.Identity("default", "lone"), "RSA key in the request": m.SignIdentity("default", "lone", long),
	} {
		if err := certstest.Judge(t, parsed(t, cert), roots, cert.PrivateKey, "spiffe://default/lone"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if got := sslClient(t, cert, roots, backend.In("backend")); got != "HTTP/1.1 200 OK" {
			t.Errorf("%s: OpenSSL as a client reads %q", kind, got)
		}
		if got := sslClient(t, cert, parsed(t, cert)[:1], backend.In("backend")); !strings.Contains(got, "verify") {
			t.Errorf("%s: OpenSSL as a client with other roots: %q", kind, got)
		}
	}
	settles(t, "web's requests", web.Out("backend"), allowed)
	twin := m.Identity("default", "backend")
	m.CP.Kill() // so that nobody tells web that the proxy is gone
	backend.Crash()
	sslServer(t, twin, roots, backend.In("backend"))
	eventually(t, 5*time.Second, "OpenSSL as a server to answer", func() error {
		status, body, err := testenv.Get(t.Context(), "http://"+web.Out("backend"))
		if err == nil && (status != http.StatusOK || !strings.Contains(body, "Verify return code: 0 (ok)")) {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
}

func parsed(t *testing.T, cert *tls.Certificate) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

// sslFiles are the arguments that make OpenSSL present a certificate, and trust these roots and nobody else.
func sslFiles(t *testing.T, cert *tls.Certificate, roots []*x509.Certificate) []string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	chain := parsed(t, cert)
	for name, data := range map[string][]byte{
		"cert": certs.EncodeChain(chain[:1]), "chain": certs.EncodeChain(chain), "roots": certs.EncodeChain(roots),
		"key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{
		"-cert", filepath.Join(dir, "cert"), "-key", filepath.Join(dir, "key"), "-cert_chain", filepath.Join(dir, "chain"),
		"-CAfile", filepath.Join(dir, "roots"), "-x509_strict", "-verify_return_error", "-tls1_3",
	}
}

// sslClient is the first line of what an inbound answers to OpenSSL.
func sslClient(t *testing.T, cert *tls.Certificate, roots []*x509.Certificate, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := testenv.Run(ctx, testenv.Command{
		Name: "openssl", Path: "openssl", Stdin: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		Args: append([]string{"s_client", "-quiet", "-connect", address, "-servername", "lone.backend.default"}, sslFiles(t, cert, roots)...),
	})
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(out, "\r\n")
	return line
}

// sslServer has OpenSSL serve a page about each connection, and let nobody in without a certificate.
func sslServer(t *testing.T, cert *tls.Certificate, roots []*x509.Certificate, address string) {
	t.Helper()
	p, err := testenv.Start(testenv.Command{Name: "openssl", Path: "openssl",
		Args: append([]string{"s_server", "-www", "-Verify", "2", "-accept", address}, sslFiles(t, cert, roots)...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
}
