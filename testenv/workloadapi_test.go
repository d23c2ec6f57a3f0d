package testenv_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"koguma/certs"
	"koguma/testenv"
)

// source is a go-spiffe program beside an agent.
func source(t *testing.T, socket string) *workloadapi.X509Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serialOf is the serial number of the certificate that the program has now.
func serialOf(t *testing.T, s *workloadapi.X509Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return certs.Serial(svid.Certificates[0])
}

// greet is a server of a program that says hello to everybody of the mesh, by name.
func greet(t *testing.T, s *workloadapi.X509Source) (address string) {
	t.Helper()
	config := tlsconfig.MTLSServerConfig(s, s, tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("default")))
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				if c.(*tls.Conn).HandshakeContext(context.Background()) == nil {
					fmt.Fprintln(c, "hello", c.(*tls.Conn).ConnectionState().PeerCertificates[0].URIs[0])
				}
			}()
		}
	}()
	return l.Addr().String()
}

// greeting is what the server says, and the serial number of the certificate that it shows.
func greeting(ctx context.Context, s *workloadapi.X509Source, address string) (said, serial string, err error) {
	server := spiffeid.RequireFromString("spiffe://default/web")
	d := tls.Dialer{Config: tlsconfig.MTLSClientConfig(s, s, tlsconfig.AuthorizeID(server))}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	said, err = bufio.NewReader(c).ReadString('\n')
	return said, certs.Serial(c.(*tls.Conn).ConnectionState().PeerCertificates[0]), err
}

// A program beside the agent has the identity that Envoy shows, also across renewals: no handshake between two programs
// fails, and an Envoy elsewhere takes the program for the service, with the SNI of the mesh and without.
func TestWorkloadAPI(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, LeafLife: 10 * time.Second})
	m.Permit("web-to-backend", "web", "backend")
	sockets := map[string]string{}
	var proxies []testenv.Proxy
	for _, name := range []string{"web", "backend"} {
		sockets[name] = filepath.Join(m.Dir(), name+".sock")
		proxies = append(proxies, testenv.Proxy{Serves: []string{name}, Args: []string{"--workload-api-socket=" + sockets[name]}})
	}
	all := m.Start(proxies...)
	web, backend := all[0], all[1]
	for name, socket := range sockets {
		if info, err := os.Lstat(socket); err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("the socket of %s: %v %v", name, info, err)
		}
	}
	program, peer := source(t, sockets["web"]), source(t, sockets["backend"])
	server := greet(t, program)

	var envoy, own []sighting
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 16*time.Second; <-tick.C {
		said, shown, err := greeting(t.Context(), peer, server)
		if err != nil || said != "hello spiffe://default/backend\n" {
			t.Fatalf("after %v: %q, %v", time.Since(begin), said, err)
		}
		own = append(own, sighting{time.Now(), shown})
		chain, err := testenv.ServerChain(t.Context(), web.In("web"), "")
		if err != nil {
			t.Fatal(err)
		}
		envoy = append(envoy, sighting{time.Now(), certs.Serial(chain[0])})
	}
	seen := map[string]bool{}
	for _, s := range own {
		seen[s.serial] = true
		if !seenAround(envoy, s) {
			t.Errorf("the program shows %s, which Envoy does not within a second", s.serial)
		}
	}
	if len(seen) < 2 || len(own) < 40 {
		t.Errorf("%d certificates in %d handshakes", len(seen), len(own))
	}

	for _, sni := range []string{"web.backend.default", ""} {
		if got := through(t, program, sni, backend.In("backend")); got != allowed {
			t.Errorf("web's program with the SNI %q gets %s", sni, got)
		}
		if got := through(t, peer, sni, backend.In("backend")); got == allowed {
			t.Errorf("backend's program with the SNI %q gets in, although nobody permits it", sni)
		}
	}
	if err := web.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(sockets["web"]); err == nil {
		t.Error("the socket is still there")
	}
}

// through is what a request to an inbound comes to, of a program that knows backend when it sees it.
func through(t *testing.T, s *workloadapi.X509Source, sni, address string) string {
	t.Helper()
	config := tlsconfig.MTLSClientConfig(s, s, tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://default/backend")))
	config.ServerName = sni
	c, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the handshake with %s, SNI %q: %v", address, sni, err)
	}
	defer c.Close()
	answer, err := exchange(c, bufio.NewReader(c))
	if err != nil && err != io.EOF {
		return closed
	}
	return answer
}

// A program that comes while there is no control plane gets the identity that Envoy shows.
func TestWorkloadAPIWithoutControlPlane(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	socket := filepath.Join(m.Dir(), "web.sock")
	web := m.Start(testenv.Proxy{Serves: []string{"web"}, Args: []string{"--workload-api-socket=" + socket}})[0]
	m.CP.Kill()
	chain, err := testenv.ServerChain(t.Context(), web.In("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := serialOf(t, source(t, socket)), certs.Serial(chain[0]); got != want {
		t.Errorf("the program has %s, Envoy %s", got, want)
	}
}
