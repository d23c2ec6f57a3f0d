package cp_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/settings"
	"koguma/token"
)

func newCA(t *testing.T) *certs.CA {
	t.Helper()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "kuma-cp", Life: 10 * 365 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// The certificate is for whatever this machine may be dialled by, leads to the pinned CA, and is made anew before it ends.
func TestServerCert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := cp.NewServerCert(newCA(t), "", "", "cp.example")
		if err != nil {
			t.Fatal(err)
		}
		first, err := c.Get()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{certs.ServerName, "localhost", "127.0.0.1", "::1", "cp.example"} {
			if err := first.Leaf.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
		check := func(pair *tls.Certificate) {
			t.Helper()
			var state tls.ConnectionState
			for _, der := range pair.Certificate {
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				state.PeerCertificates = append(state.PeerCertificates, cert)
			}
			if err := certs.VerifyPinned(c.Pin())(state); err != nil {
				t.Error(err)
			}
		}
		check(first)
		time.Sleep(19 * 24 * time.Hour)
		if again, err := c.Get(); err != nil || again != first {
			t.Errorf("another certificate after 19 days: %v", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		second, err := c.Get()
		if err != nil || second == first {
			t.Fatalf("the same certificate after 21 days: %v", err)
		}
		check(second)
	})
}

// A pair from the configuration is shown as it is, and is no business of the pin.
func TestServerCertGiven(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t), newSigner(t)
	chain, err := ca.IssueServer(key.Public(), []string{"cp.example"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for file, data := range map[string][]byte{certFile: certs.EncodeChain(chain), keyFile: keyPEM} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := cp.NewServerCert(newCA(t), certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(); err != nil || !got.Leaf.Equal(chain[0]) {
		t.Errorf("another certificate, or %v", err)
	}
	root, name, err := c.Root()
	if err != nil || string(root) != string(ca.CertPEM()) || name != certs.ServerName || c.Pin() != "" {
		t.Errorf("root %s, name %q, pin %q, error %v", root, name, c.Pin(), err)
	}
	for _, files := range [][2]string{{certFile, certFile}, {keyFile, keyFile}, {certFile, "/nowhere"}} {
		if _, err := cp.NewServerCert(newCA(t), files[0], files[1], ""); err == nil || !strings.Contains(err.Error(), "DP server") {
			t.Errorf("%q: %v", files, err)
		}
	}
	p := boot(t, func(cfg *settings.Config) { cfg.DPServer.TLSCertFile, cfg.DPServer.TLSKeyFile = certFile, keyFile })
	claims, err := token.Inspect(token.Raw(p.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`)))
	if err != nil || claims.Pin != "" {
		t.Errorf("tokens have the pin %q, error %v", claims.Pin, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	conn, err := tls.Dial("tcp", p.addrs.DP.String(), &tls.Config{RootCAs: roots, ServerName: "cp.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// The name of a machine is not always one that a certificate can have. That is no reason not to start, and one that is
// advertised is.
func TestServerCertForOddNames(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	for host, want := range map[string]bool{
		"web": true, "Web.Example": true, strings.Repeat("a", 63): true,
		"": false, "-web": false, "web-": false, "a b": false, "(none)": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		if got := cp.Certifiable(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
		_, err := cp.NewServerCert(ca, "", "", host)
		if want && err != nil || !want && host != "" && err == nil {
			t.Errorf("%q advertised: %v", host, err)
		}
	}
}
