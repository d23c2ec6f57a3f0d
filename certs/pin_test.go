package certs_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"time"

	"koguma/certs"
)

func newServerCA(tb testing.TB) *certs.CA {
	tb.Helper()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "Koguma control plane", Life: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

// handshake is what a client with the pin says of a server with the chain, over a real TLS connection.
func handshake(t *testing.T, pin string, key any, chain ...*x509.Certificate) error {
	t.Helper()
	cert := tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(io.Discard, c)
	}()
	client, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, VerifyConnection: certs.VerifyPinned(pin)})
	if err == nil {
		client.Close()
	}
	l.Close()
	<-done
	return err
}

// With a pin, the control plane is known whatever its address; without the right one it is not.
func TestVerifyPinned(t *testing.T) {
	t.Parallel()
	ca, other := newServerCA(t), newServerCA(t)
	pin := certs.Pin(ca.Certificate())
	key := newKey(t)
	chain, err := ca.IssueServer(key.Public(), []string{"10.0.0.1", "CP.example.org", "::1", "kuma-cp"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf, root := chain[0], chain[1]
	foreign, err := other.IssueServer(key.Public(), nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	m := newMesh(t, "default")
	svid := issue(t, ca, certs.Request{Key: key.Public(), ID: web, Life: time.Hour})[0]
	server := func(change func(c *x509.Certificate)) *x509.Certificate {
		return m.signKey(t, key.Public(), func(c *x509.Certificate) {
			c.URIs = nil
			c.DNSNames = []string{certs.ServerName}
			change(c)
		})
	}
	meshPin, meshRoot := certs.Pin(m.ca.Certificate()), m.ca.Certificate()
	for name, test := range map[string]struct {
		pin   string
		chain []*x509.Certificate
		want  string
	}{
		"right":                  {pin, []*x509.Certificate{leaf, root}, ""},
		"other certificates too": {pin, []*x509.Certificate{leaf, foreign[1], root}, ""},
		"hand-made":              {meshPin, []*x509.Certificate{server(func(*x509.Certificate) {}), meshRoot}, ""},
		"wrong pin":              {certs.Pin(other.Certificate()), []*x509.Certificate{leaf, root}, "not the one the token was issued under"},
		"pin of the leaf":        {certs.Pin(leaf), []*x509.Certificate{leaf, root}, "not the one"},
		"pin of the leaf, twice": {certs.Pin(leaf), []*x509.Certificate{leaf, leaf, root}, "not the one"},
		"no pin":                 {"", []*x509.Certificate{leaf, root}, "not the one"},
		"root not sent":          {pin, []*x509.Certificate{leaf}, "not the one"},
		"leaf of another CA":     {pin, []*x509.Certificate{foreign[0], root}, "unknown authority"},
		"both CAs, other leaf":   {pin, []*x509.Certificate{foreign[0], foreign[1], root}, "unknown authority"},
		"expired":                {meshPin, []*x509.Certificate{server(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), meshRoot}, "expired"},
		"no kuma-cp":             {meshPin, []*x509.Certificate{server(func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }), meshRoot}, "not kuma-cp"},
		"client only":            {meshPin, []*x509.Certificate{server(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), meshRoot}, "incompatible key usage"},
		"a workload's":           {pin, []*x509.Certificate{svid, root}, "not valid for any names"},
	} {
		err := handshake(t, test.pin, key, test.chain...)
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if err := certs.VerifyPinned(pin)(tls.ConnectionState{}); err == nil {
		t.Error("no certificate at all: accepted")
	}
}

// A CA certificate does not stand in for the server, even one that has the name.
func TestVerifyPinnedRefusesCA(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	c := caTemplate()
	c.DNSNames = []string{certs.ServerName}
	root := create(t, c, c, key.Public(), key)
	if err := handshake(t, certs.Pin(root), key, root, root); err == nil || !strings.Contains(err.Error(), "CA certificate as its own") {
		t.Errorf("got %v", err)
	}
}

// The server's certificate is right for those who know the CA and the address, too.
func TestIssueServer(t *testing.T) {
	t.Parallel()
	ca := newServerCA(t)
	key := newKey(t)
	chain, err := ca.IssueServer(key.Public(), []string{"10.0.0.1", "CP.example.org", "::1", "localhost"}, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || !chain[1].Equal(ca.Certificate()) {
		t.Fatalf("chain of %d, want leaf and root", len(chain))
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	for _, host := range []string{"10.0.0.1", "cp.example.org", "[::1]", "localhost", certs.ServerName} {
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("good for a client, too")
	}
	if chain[0].NotAfter.After(ca.Certificate().NotAfter) {
		t.Error("outlives its CA")
	}
	for _, host := range []string{"", "a b", "*.example.org", "fe80::1%eth0", "a/b"} {
		if _, err := ca.IssueServer(key.Public(), []string{host}, time.Hour); err == nil {
			t.Errorf("%q: issued", host)
		}
	}
}

// The pin is that of the key, as other tools compute it.
func TestPin(t *testing.T) {
	t.Parallel()
	ca := newServerCA(t)
	der, err := x509.MarshalPKIXPublicKey(ca.Certificate().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	if got, want := certs.Pin(ca.Certificate()), "sha256:"+base64.RawURLEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
