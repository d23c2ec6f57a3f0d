package agent_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/certs"
	"koguma/token"
	"koguma/xds"
)

var identityName = xds.IdentitySecretName("default", "web", true)

// keyPair is the key and certificate in a secret, and fails the test unless they belong together.
func keyPair(t testing.TB, s *tlsv3.Secret) *x509.Certificate {
	t.Helper()
	c := s.GetTlsCertificate()
	pair, err := tls.X509KeyPair(c.GetCertificateChain().GetInlineBytes(), c.GetPrivateKey().GetInlineBytes())
	if err != nil {
		t.Fatalf("secret %q: %v", s.GetName(), err)
	}
	return pair.Leaf
}

// The key is made in the agent: the control plane gets a request, and Envoy the pair.
func TestEnvoyGetsKeyAndCertificate(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	r := start(t, cfg)
	e := r.envoy()
	e.takeAll(identityName, xds.CASecretName("default"))
	leaf := keyPair(t, e.secret(identityName))
	if got, want := leaf.URIs[0].String(), "spiffe://default/web"; got != want {
		t.Errorf("identity %s, want %s", got, want)
	}
	cp.read(func() {
		if cp.issued != 1 {
			t.Errorf("%d certificates issued, want 1", cp.issued)
		}
		if got := cp.tokens[0]; got != string(cfg.Token) {
			t.Error("the token did not arrive")
		}
		n := cp.nodes[0]
		if n.Id != "default.web-1" || n.Cluster != "web" {
			t.Errorf("node %s of cluster %s", n.Id, n.Cluster)
		}
		if d := n.Metadata.Fields["dataplane.resource"].GetStringValue(); !strings.Contains(d, `"kuma.io/service":"web"`) {
			t.Errorf("dataplane.resource is %s", d)
		}
	})
}

// A Dataplane with several services has a certificate for each, all with one key.
func TestSeveralServices(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	second := xds.IdentitySecretName("default", "api", false)
	cp.services[second] = "api"
	cfg := config(t, cp)
	cfg.Dataplane = web("web", "api")
	r := start(t, cfg)
	e := r.envoy()
	e.takeAll(identityName, second)
	resp := e.next(xds.TypeSecret)
	if got, want := namesIn(t, resp), identityName+" "+second; got != want {
		t.Errorf("secrets %q, want %q", got, want)
	}
	cp.read(func() {
		if cp.issued != 2 || len(cp.keys) != 1 {
			t.Errorf("%d certificates for %d keys, want 2 for 1", cp.issued, len(cp.keys))
		}
	})
}

// In the form without a file the agent does not know the services: what Envoy asks for is asked for.
func TestServicesThatEnvoyAsksFor(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	second := xds.IdentitySecretName("default", "api", false)
	cp.services[second] = "api"
	cfg := config(t, cp)
	cfg.Dataplane, cfg.Name = nil, "web-1"
	r := start(t, cfg)
	e := r.envoy()
	e.takeAll(second)
	if got := keyPair(t, e.secret(second)).URIs[0].String(); got != "spiffe://default/api" {
		t.Errorf("identity %s", got)
	}
}

// Who is refused before he was ever let in is told so in one line, and left alone.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			cp := startCP(t)
			cp.refusal = status.Error(code, "token refused: it is for service \"x\";\x1b[31m make another")
			r := start(t, config(t, cp))
			err := r.wait()
			if err == nil || !strings.HasSuffix(err.Error(), `token refused: it is for service "x"; [31m make another`) {
				t.Fatalf("error %q", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("more than a line: %q", err)
			}
			cp.read(func() {
				if len(cp.tokens) != 1 {
					t.Errorf("%d attempts, want 1", len(cp.tokens))
				}
			})
		})
	}
}

// A Dataplane that has not been applied yet, and a control plane that is not up yet, are waited for.
func TestWaitsForControlPlane(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.down()
	cp.refusal = status.Error(codes.NotFound, "there is no such Dataplane")
	r := start(t, config(t, cp))
	eventually(t, func() error { return contains(r.log, "connection refused") })
	cp.up()
	eventually(t, func() error { return contains(r.log, "there is no such Dataplane") })
	cp.read(func() { cp.refusal = nil })
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
	if n := strings.Count(r.log.String(), "connection refused"); n != 1 {
		t.Errorf("said %d times that the connection was refused, want once", n)
	}
}

func contains(log *buffer, text string) error {
	if !strings.Contains(log.String(), text) {
		return fmt.Errorf("nothing of %q in the log", text)
	}
	return nil
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.down()
	cfg := config(t, cp)
	cfg.RetryMax = 300 * time.Millisecond
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "gave up after 300ms") {
		t.Errorf("error %v", err)
	}
}

// Once let in, no refusal ends the agent: Envoy goes on, and the reason is said once.
func TestLaterRefusalIsNoEnd(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	keyPair(t, e.secret(identityName))
	cp.down()
	cp.read(func() { cp.refusal = status.Error(codes.Unauthenticated, "token refused: revoked") })
	cp.up()
	eventually(t, func() error { return contains(r.log, "token refused: revoked") })
	e = r.envoy()
	e.takeAll(identityName)
	keyPair(t, e.secret(identityName))
	cp.read(func() { cp.refusal = nil })
	eventually(t, func() error {
		if strings.Count(r.log.String(), "connected to the control plane\"") < 2 {
			return errors.New("not connected again")
		}
		return nil
	})
}

// A token goes to nobody but the control plane whose CA it names.
func TestTokenIsForTheRightControlPlane(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	cfg.Token = newToken(t, token.Claims{Pin: certs.Pin(newCA(t, "other").Certificate())})
	cfg.RetryMax = 300 * time.Millisecond
	if err := start(t, cfg).wait(); err == nil {
		t.Error("no error")
	}
	cfg.Token = newToken(t, token.Claims{}) // and no CA: those of the system, which do not have ours
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
	cp.read(func() {
		if len(cp.tokens) > 0 {
			t.Error("the token was sent")
		}
	})
	cfg.CACert = cp.serverCA.CertPEM()
	r := start(t, cfg)
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
}

// A CA file wins over the pin, and brings the check of the host back.
func TestCAFileWins(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cfg := config(t, cp)
	cfg.RetryMax = 200 * time.Millisecond
	cfg.CACert = newCA(t, "other").CertPEM()
	if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
	cfg.CACert = cp.serverCA.CertPEM()
	cfg.CPAddresses = []string{strings.Replace(cp.address, "127.0.0.1", "127.0.0.2", 1)}
	if err := start(t, cfg).wait(); err == nil {
		t.Error("connected to a host that the certificate does not name")
	}
}

// The API is asked where the DP server is, and for nothing else.
func TestCatalog(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	pinned := newToken(t, token.Claims{Pin: certs.Pin(cp.serverCA.Certificate())})
	for _, test := range []struct{ name, answer, err string }{
		{"found", `{"apis":{"bootstrap":{"url":"` + cp.address + `"},"other":1}}`, ""},
		{"plain", `{"apis":{"bootstrap":{"url":"http://127.0.0.1:5678"}}}`, "not https"},
		{"empty", `{}`, "address of the DP server"},
		{"path", `{"apis":{"bootstrap":{"url":"https://127.0.0.1:5678/x"}}}`, "more than a host and a port"},
		{"twice", `{"apis":{},"apis":{}}`, "catalog of"},
		{"long", strings.Repeat(" ", 100<<10), "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/catalog" || r.Header.Get("Authorization") != "" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				fmt.Fprint(w, test.answer)
			}))
			t.Cleanup(api.Close)
			cfg := config(t, cp)
			cfg.Token, cfg.CPAddresses, cfg.RetryMax = pinned, []string{api.URL}, 100*time.Millisecond
			r := start(t, cfg)
			if test.err == "" {
				eventually(t, func() error { return contains(r.log, "connected to the control plane") })
				return
			}
			if err := r.wait(); err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want one with %q", err, test.err)
			}
		})
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"apis":{"bootstrap":{"url":"https://localhost:5678"}}}`)
		}))
		t.Cleanup(api.Close)
		cfg := config(t, cp)
		cfg.Token, cfg.CPAddresses, cfg.RetryMax = newToken(t, token.Claims{}), []string{api.URL}, 100*time.Millisecond
		if err := start(t, cfg).wait(); err == nil || !strings.Contains(err.Error(), "another host") {
			t.Errorf("error %v", err)
		}
	})
}

// Leaving is said to the control plane, and nothing remains.
func TestLeaves(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r := start(t, config(t, cp))
	eventually(t, func() error { return contains(r.log, "connected to the control plane") })
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		var err error
		cp.read(func() {
			if cp.left != 1 {
				err = errors.New("the control plane did not hear of it")
			}
		})
		return err
	})
	if left, err := os.ReadDir(r.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// When Run has returned, no goroutine of it is left. Not parallel: it counts those of the whole process.
func TestNoGoroutineIsLeft(t *testing.T) {
	cp := startCP(t)
	before := runtime.NumGoroutine()
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	keyPair(t, e.secret(identityName))
	if _, err := get(http.DefaultClient, r.url("/metrics")); err != nil {
		t.Fatal(err)
	}
	e.close()
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, func() error {
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 64<<10)
			return fmt.Errorf("%d goroutines, %d before:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}

// equal compares public keys.
func equal(a, b crypto.PublicKey) bool {
	return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
}
