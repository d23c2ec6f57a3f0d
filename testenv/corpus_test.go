package testenv_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
	"koguma/certs/certstest"
	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
)

// caOf is the CA of the mesh, with its key, which the control plane shows to nobody: it is read from the store, in a
// moment in which there is no control plane.
func caOf(t *testing.T, m *testenv.Mesh) certstest.CA {
	t.Helper()
	m.CP.Kill()
	defer m.StartCP()
	s, err := store.OpenFile(filepath.Join(m.Dir(), "cp", "koguma.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	read := func(name string) []byte {
		r, err := s.Get(t.Context(), policy.Key{Type: policy.TypeSecret, Mesh: "default", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return r.(*policy.Secret).Data
	}
	ca, err := certstest.ParseCA(read(policy.CACertName("default", "ca-1")), read(policy.CAKeyName("default", "ca-1")))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// envoyTakes are the bad leaves that Envoy 1.40 takes all the same, at either end, and why there is none of them: the CA
// does not make it, so that the CA is the guard. That it does not, for whatever it is asked, is tested in package certs.
func envoyTakes() map[string]string {
	const (
		oneURI   = "a leaf has the one URI that the control plane has worked out, and none is taken from a request"
		noSigner = "a leaf has cA false, digitalSignature, and nothing else"
		usages   = "a leaf has serverAuth and clientAuth, and nothing else"
	)
	return map[string]string{
		"two URIs":               oneURI,
		"two identical URIs":     oneURI,
		"SPIFFE and kuma URI":    oneURI,
		"names not critical":     "crypto/x509 marks the names critical where there is no subject, and a leaf has none",
		"cA true":                noSigner,
		"keyCertSign":            noSigner,
		"cRLSign":                noSigner,
		"no key usage":           noSigner,
		"key usage not critical": "crypto/x509 marks the key usage critical",
		"no extended key usage":  usages,
		"codeSigning too":        usages,
		"any usage too":          usages,
		"unknown usage too":      usages,
		"longer than its CA":     "a leaf ends with its CA",
		"serial 0":               "a serial number is 128 random bits, and at least 1",
		"SHA-1":                  "a CA signs with SHA-256",
		"RSA-1024":               "a request for a key that is too weak is refused",
		"an intermediate below pathLen 0": "the key of a builtin CA signs leaves only; Envoy trusts a root " +
			"without looking at its pathLen",
	}
}

// meets shows bad leaves to one end of a connection, and compares what is taken with what is known to be. alsoTaken is the
// leaf that is good for this end alone.
func meets(t *testing.T, leaves []certstest.Leaf, alsoTaken string, taken func(l certstest.Leaf) bool) {
	t.Helper()
	known := envoyTakes()
	known[alsoTaken] = "a leaf is for both ends"
	for _, l := range leaves {
		why, expected := known[l.Name]
		switch in := taken(l); {
		case in && !expected:
			t.Errorf("%s: taken", l.Name)
		case !in && expected:
			t.Errorf("%s: refused, so that it needs no reason any more why there is none (%s)", l.Name, why)
		}
		delete(known, l.Name)
	}
	if len(known) > 0 {
		t.Errorf("not among the leaves: %v", known)
	}
}

// A client with a bad leaf does not get through an inbound, though the mesh's own CA has signed it: the handshake fails, or
// nobody is permitted by what the leaf says. The exceptions are Envoy's, and known.
func TestBadLeavesAtInbound(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	ca := caOf(t, m)
	m.Permit("web-backend", "web", "backend")
	m.Permit("web-db", "web", "db")
	backend := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}})[0]
	id, key := spiffeid.RequireFromString("spiffe://default/web"), newKey(t)
	ways := func(l certstest.Leaf) (in int) {
		for service, want := range map[string]string{"backend": allowed, "db": open} {
			for _, serverName := range []string{"", "web." + service + ".default"} {
				d := dialer{cert: l.TLS(), serverName: serverName}
				if d.answer(t.Context(), backend, service) == want {
					in++
				}
			}
		}
		return in
	}
	eventually(t, 10*time.Second, "a good one to be let in everywhere", func() error {
		if in := ways(certstest.GoodLeaf(t, ca, id, key)); in != 4 {
			return fmt.Errorf("it is in %d of 4 ways", in)
		}
		return nil
	})
	letIn := func(l certstest.Leaf) bool { return ways(l) > 0 }
	meets(t, certstest.BadLeaves(t, ca, id, key), "clientAuth only", letIn)
}

// A server with a bad leaf gets no request, though the mesh's own CA has signed it and it stands where a proxy of that
// service should. The exceptions are the same.
func TestBadLeavesAtOutbound(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	ca := caOf(t, m)
	m.Permit("p", "web", "backend")
	all := m.Start(testenv.Proxy{Serves: []string{"backend"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})
	backend, web := all[0], all[1]
	settles(t, "web's requests", web.Out("backend"), allowed)
	m.CP.Kill() // so that nobody tells web that the proxy is gone
	backend.Crash()
	id, key := spiffeid.RequireFromString("spiffe://default/backend"), newKey(t)
	served := func(l certstest.Leaf) bool {
		defer standIn(t, backend.In("backend"), l).Close()
		return httpAnswer(t.Context(), web.Out("backend")) == allowed
	}
	good := certstest.GoodLeaf(t, ca, id, key)
	if !served(good) {
		t.Fatal("a good one gets no request")
	}
	meets(t, certstest.BadLeaves(t, ca, id, key), "serverAuth only", served)
	if !served(good) {
		t.Error("a good one gets no request any more")
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// standIn is a server at the address of an inbound that presents a leaf, and greets whoever takes it.
func standIn(t *testing.T, address string, l certstest.Leaf) *http.Server {
	t.Helper()
	var listener net.Listener
	eventually(t, 5*time.Second, "the address to be free", func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	s := &http.Server{
		Handler:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ErrorLog: log.New(io.Discard, "", 0), // of handshakes that the peer breaks off
	}
	// A listener of our own, for ServeTLS would have protocols by ALPN, and proxies offer none of those.
	go s.Serve(tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{*l.TLS()}, ClientAuth: tls.RequireAnyClientCert,
	}))
	return s
}
