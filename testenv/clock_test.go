package testenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"koguma/certs"
	"koguma/testenv"
)

// A peer whose clock is almost a minute behind takes a certificate in the moment in which it is made, at either end.
func TestPeerWhoseClockIsBehind(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	begin := time.Now().Truncate(time.Second)
	client := m.Identity("default", "web")
	backend := m.Start(testenv.Proxy{Serves: []string{"backend"}})[0]
	server, err := testenv.ServerChain(t.Context(), backend.In("backend"), "")
	if err != nil {
		t.Fatal(err)
	}
	roots, domain := m.Roots("default"), spiffeid.RequireTrustDomainFromString("default")
	for behind, taken := range map[time.Duration]bool{59 * time.Second: true, 61 * time.Second: false} {
		for end, chain := range map[string][]*x509.Certificate{"client": parsed(t, client), "server": server} {
			made := chain[0].NotBefore.Add(certs.Backdate)
			if made.Before(begin) || made.After(time.Now()) {
				t.Fatalf("the certificate of the %s was made at %v, and it was asked for after %v", end, made, begin)
			}
			now := made.Add(-behind)
			err := takesClient(t, client, roots, now)
			if end == "server" {
				_, _, err = x509svid.Verify(chain, x509bundle.FromX509Authorities(domain, roots), x509svid.WithTime(now))
			}
			if (err == nil) != taken {
				t.Errorf("a peer that is %v behind says of the %s: %v", behind, end, err)
			}
		}
	}
}

// takesClient is what a server of Go says to a client, at a time that it takes for now.
func takesClient(t *testing.T, cert *tls.Certificate, roots []*x509.Certificate, now time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	client := tls.Client(there, &tls.Config{Certificates: []tls.Certificate{*cert}, InsecureSkipVerify: true}) // it is the server that verifies
	go io.Copy(io.Discard, client)                                                                             // the handshake, and what comes after
	return tls.Server(here, &tls.Config{
		Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		Time: func() time.Time { return now },
	}).HandshakeContext(t.Context())
}
