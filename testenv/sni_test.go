package testenv_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/testenv"
)

// dialer dials an inbound as a program that is no Envoy.
type dialer struct {
	serverName string
	cert       *tls.Certificate // nil: none
	most       uint16           // the highest version of TLS; 0 is the newest there is
}

func (d dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	config := &tls.Config{
		ServerName:         d.serverName,
		InsecureSkipVerify: true, // the server's identity is another test's
		MaxVersion:         d.most,
	}
	if d.cert != nil {
		// Whatever the server says about whose certificates it takes.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.cert, nil }
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
}

// httpAnswer is what one request comes to: an answer, or that the connection is closed.
func (d dialer) httpAnswer(ctx context.Context, address string) string {
	c, err := d.dial(ctx, address)
	if err != nil {
		return closed
	}
	defer c.Close()
	answer, err := exchange(c, bufio.NewReader(c))
	if err != nil {
		return closed
	}
	return answer
}

// tcpAnswer is what one connection to a TCP service comes to.
func (d dialer) tcpAnswer(ctx context.Context, address string) string {
	if testenv.Echo(d.dial(ctx, address)) != nil {
		return closed
	}
	return open
}

// exchange sends a request over a connection that stays open, and reads the answer.
func exchange(c net.Conn, r *bufio.Reader) (string, error) {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: backend\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusOK {
		return allowed, err
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))), err
}

// counterfeit is an identity in the mesh "default" that another CA has signed.
func counterfeit(t *testing.T, service string) *tls.Certificate {
	t.Helper()
	ca, err := certs.NewCA(certs.CAOptions{
		CommonName: "default", URI: &url.URL{Scheme: "spiffe", Host: "default"}, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, err := certs.WorkloadID("default", service)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.Issue(t.Context(), certs.Request{Key: key.Public(), ID: id, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: raw(chain), PrivateKey: key}
}

func raw(chain []*x509.Certificate) [][]byte {
	var der [][]byte
	for _, c := range chain {
		der = append(der, c.Raw)
	}
	return der
}

// The SNI chooses a filter chain, and the certificate decides. Who has none of the mesh does not even get that far.
func TestServerNameIsNoProof(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.TurnOnMTLS("other")
	backend := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}})[0]
	m.Permit("web-backend", "web", "backend")
	m.Permit("web-db", "web", "db")
	web, intruder := m.Identity("default", "web"), m.Identity("default", "intruder")
	eventually(t, 10*time.Second, "web to be let in", func() error {
		for service, want := range map[string]string{"backend": allowed, "db": open} {
			d := dialer{serverName: "web." + service + ".default", cert: web}
			if got := d.answer(t.Context(), backend, service); got != want {
				return fmt.Errorf("%s: %s", service, got)
			}
		}
		return nil
	})
	for _, c := range []struct {
		name, serverName string
		cert             *tls.Certificate
		most             uint16
		http, tcp        string
	}{
		{"the right name", "web.%s.default", web, 0, allowed, open},
		{"no name", "", web, 0, allowed, open},
		{"a name of nobody", "nobody.%s.default", web, 0, allowed, open},
		{"the name of another source", "intruder.%s.default", web, 0, allowed, open},
		{"the intruder with web's name", "web.%s.default", intruder, 0, denied, closed},
		{"the intruder with its own name", "intruder.%s.default", intruder, 0, denied, closed},
		{"the intruder without a name", "", intruder, 0, denied, closed},
		{"no certificate", "web.%s.default", nil, 0, closed, closed},
		{"web of another mesh", "web.%s.default", m.Identity("other", "web"), 0, closed, closed},
		{"web by another CA", "web.%s.default", counterfeit(t, "web"), 0, closed, closed},
		{"TLS 1.2", "web.%s.default", web, tls.VersionTLS12, closed, closed},
	} {
		for service, want := range map[string]string{"backend": c.http, "db": c.tcp} {
			d := dialer{cert: c.cert, most: c.most}
			if c.serverName != "" {
				d.serverName = fmt.Sprintf(c.serverName, service)
			}
			if got := d.answer(t.Context(), backend, service); got != want {
				t.Errorf("%s, to %s: %s, want %s", c.name, service, got, want)
			}
		}
	}
}

func (d dialer) answer(ctx context.Context, s *testenv.Sidecar, service string) string {
	if service == "backend" {
		return d.httpAnswer(ctx, s.In(service))
	}
	return d.tcpAnswer(ctx, s.In(service))
}

// A connection that is kept open between requests is closed with its permission, even if nothing is sent over it; and so
// is one that the chain for everybody else has judged. That of another source goes on.
func TestIdleConnectionsAreCut(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	backend := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}})[0]
	m.Permit("to-backend", "web mobile", "backend")
	m.Permit("to-db", "web mobile", "db")
	web := dialer{serverName: "web.backend.default", cert: m.Identity("default", "web")}
	mobile := dialer{serverName: "mobile.backend.default", cert: m.Identity("default", "mobile")}
	idle, idleReader := keepAlive(t, web, backend)
	other, otherReader := keepAlive(t, mobile, backend)
	nameless, err := testenv.OpenEcho(dialer{cert: web.cert}.dial(t.Context(), backend.In("db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nameless.Close)

	begin := time.Now()
	m.Permit("to-backend", "mobile", "backend")
	m.Permit("to-db", "mobile", "db")
	isCut(t, "web's connection without a name", nameless, begin, drain+time.Second)
	if err := idle.SetDeadline(begin.Add(drain + time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := idleReader.ReadByte(); err == nil || isTimeout(err) {
		t.Errorf("web's idle connection: %v, want it to be closed", err)
	}
	<-time.After(time.Until(begin.Add(2 * drain)))
	if got, err := exchange(other, otherReader); err != nil || got != allowed {
		t.Errorf("mobile's connection: %s, %v, want it to go on", got, err)
	}
}

// keepAlive is a connection to backend that has served a request, and can serve more.
func keepAlive(t *testing.T, d dialer, backend *testenv.Sidecar) (net.Conn, *bufio.Reader) {
	t.Helper()
	eventually(t, 10*time.Second, "the service to be let in", func() error {
		if got := d.httpAnswer(t.Context(), backend.In("backend")); got != allowed {
			return fmt.Errorf("it gets %s", got)
		}
		return nil
	})
	c, err := d.dial(t.Context(), backend.In("backend"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	for range 2 {
		if got, err := exchange(c, r); err != nil || got != allowed {
			t.Fatalf("%s, %v", got, err)
		}
	}
	return c, r
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
