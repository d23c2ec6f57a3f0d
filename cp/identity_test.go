package cp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/codes"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/token"
	"koguma/xds"
)

const (
	identity = "identity_cert:secret:default"
	trust    = "mesh_ca:secret:default"
)

func newSigner(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// csrOf is the metadata with a request for that key, and with what the proxy still has.
func csrOf(t testing.TB, key crypto.Signer, held ...string) map[string]any {
	t.Helper()
	csr, err := certs.NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, len(held))
	for i, h := range held {
		list[i] = h
	}
	return map[string]any{"dataplane.csr": string(csr), "dataplane.svids": list}
}

// chain is the certificates of a secret.
func chain(t *testing.T, c *tlsv3.TlsCertificate) []*x509.Certificate {
	t.Helper()
	all, err := certs.ParseChain(c.GetCertificateChain().GetInlineBytes())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func held(c *tlsv3.TlsCertificate) string { return string(c.GetCertificateChain().GetInlineBytes()) }

// verify lets go-spiffe judge a secret, by the roots in another secret of the same update.
func verify(t *testing.T, u update, name, id string) *x509.Certificate {
	t.Helper()
	certificates := chain(t, u.secret(t, name))
	ca, ok := u.resources[trust].(*tlsv3.Secret)
	if !ok {
		t.Fatalf("no roots in %v", u.resources)
	}
	roots, err := certs.ParseChain(ca.GetValidationContext().GetTrustedCa().GetInlineBytes())
	if err != nil {
		t.Fatal(err)
	}
	domain := spiffeid.RequireTrustDomainFromString("default")
	got, _, err := x509svid.Verify(certificates, x509bundle.FromX509Authorities(domain, roots))
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != id {
		t.Errorf("%s is the certificate of %s, want %s", name, got, id)
	}
	return certificates[0]
}

// A proxy that has a key of its own gets a certificate for it, and no private key. Nothing that it asks for beside that
// comes true.
func TestCertificateFromRequest(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	greedy := func(key crypto.Signer) map[string]any {
		u, _ := url.Parse("spiffe://default/admin")
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "admin"}, DNSNames: []string{"kuma-cp"}, URIs: []*url.URL{u}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"dataplane.csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))}
	}
	for _, variant := range variants {
		for name, request := range map[string]func(crypto.Signer) map[string]any{
			"modest": func(k crypto.Signer) map[string]any { return csrOf(t, k) }, "greedy": greedy,
		} {
			t.Run(variant+" "+name, func(t *testing.T) {
				key := newSigner(t)
				s := p.joinBy(p.conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
				s.t = t
				s.askAs(node(t, "default.web-1", request(key)), xds.TypeSecret, identity, trust)
				u := s.expect(xds.TypeSecret)
				leaf := verify(t, u, identity, "spiffe://default/web")
				if u.secret(t, identity).PrivateKey != nil {
					t.Error("a private key in the secret")
				}
				if !key.PublicKey.Equal(leaf.PublicKey) {
					t.Error("not for the key of the request")
				}
				if len(leaf.URIs) != 1 || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.Subject.Names) != 0 {
					t.Errorf("names: %v %v %v %v", leaf.URIs, leaf.DNSNames, leaf.IPAddresses, leaf.Subject)
				}
				if life := time.Until(leaf.NotAfter); life > time.Hour || life < 59*time.Minute {
					t.Errorf("it lives for %v, want an hour", life)
				}
				s.leave()
			})
		}
	}
}

// A proxy without a key of its own is sent one that fits.
func TestCertificateWithKey(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	for _, variant := range variants {
		s := p.joinBy(p.conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		s.ask(xds.TypeSecret, identity, trust)
		u := s.expect(xds.TypeSecret)
		verify(t, u, identity, "spiffe://default/web")
		c := u.secret(t, identity)
		if _, err := tls.X509KeyPair(c.GetCertificateChain().GetInlineBytes(), c.GetPrivateKey().GetInlineBytes()); err != nil {
			t.Errorf("%s: %v", variant, err)
		}
		s.leave()
	}
}

// A request for a certificate that is none ends the stream, and brings no certificate: not even one with a key from here.
func TestCertificateRequestInvalid(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	good := csrOf(t, newSigner(t))["dataplane.csr"].(string)
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tampered := []byte(good)
	copy(tampered[len(good)/2:], strings.Repeat("A", 12))
	for name, csr := range map[string]string{
		"no PEM":       "hello",
		"twice":        good + good,
		"P-224":        csrOf(t, small)["dataplane.csr"].(string),
		"tampered":     string(tampered),
		"too long":     strings.Repeat("A", 9<<10),
		"another kind": strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"),
	} {
		s := p.join("web-1", brought(dataplane("web-1", "web")))
		s.askAs(node(t, "default.web-1", map[string]any{"dataplane.csr": csr}), xds.TypeSecret, identity)
		m := s.ended(codes.InvalidArgument, "dataplane.csr: certificate request: ")
		if strings.ContainsAny(m, "\r\n") {
			t.Errorf("%s: not one line: %q", name, m)
		}
	}
	if n := p.issued(); n != 0 {
		t.Errorf("%d certificates were issued", n)
	}
}

// What a proxy still has is taken for what it is, if it is good: then nothing is issued.
func TestCertificateHeld(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	key := newSigner(t)
	web, raw := brought(dataplane("web-1", "web")), sign(t, token.Claims{Mesh: "default"})
	get := func(raw string, data map[string]any) *tlsv3.TlsCertificate {
		t.Helper()
		s := p.joinBy(p.conn, "sotw", raw, node(t, "default.web-1", web))
		defer s.leave()
		s.askAs(node(t, "default.web-1", data), xds.TypeSecret, identity, trust)
		u := s.expect(xds.TypeSecret)
		verify(t, u, identity, "spiffe://default/web")
		return u.secret(t, identity)
	}
	have := held(get(raw, csrOf(t, key)))
	foreign, err := certs.NewCA(certs.CAOptions{CommonName: "x", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	id, err := certs.WorkloadID("default", "web")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca *certs.CA, life time.Duration) string {
		t.Helper()
		c, err := ca.Issue(t.Context(), certs.Request{Key: key.Public(), ID: id, Life: life})
		if err != nil {
			t.Fatal(err)
		}
		return string(certs.EncodeChain(c))
	}
	ending := sign(t, token.Claims{Mesh: "default", ExpiresAt: time.Now().Add(10 * time.Minute)})
	for _, c := range []struct {
		name   string
		token  string
		key    crypto.Signer
		held   []string
		issued bool
	}{
		{"the same", raw, key, []string{have}, false},
		{"among others", raw, key, []string{"nonsense", issue(foreign, time.Hour), have}, false},
		{"none", raw, key, nil, true},
		{"of another key", raw, newSigner(t), []string{have}, true},
		{"of another CA", raw, key, []string{issue(foreign, time.Hour)}, true},
		{"that ends after the token", ending, key, []string{have}, true},
	} {
		before := p.issued()
		got := get(c.token, csrOf(t, c.key, c.held...))
		if n := p.issued() - before; (n == 1) != c.issued || n > 1 {
			t.Errorf("%s: %d certificates issued", c.name, n)
		}
		if same := held(got) == have; same == c.issued {
			t.Errorf("%s: the same certificate: %v", c.name, same)
		}
	}
}

// A new key brings a new certificate; the same key again, nothing.
func TestCertificateForNewKey(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	first, second := newSigner(t), newSigner(t)
	s.askAs(node(t, "default.web-1", csrOf(t, first)), xds.TypeSecret, identity, trust)
	old := held(s.expect(xds.TypeSecret).secret(t, identity))
	s.askAs(node(t, "default.web-1", csrOf(t, first)), xds.TypeSecret, identity, trust)
	s.askAs(node(t, "default.web-1", csrOf(t, second, old)), xds.TypeSecret, identity, trust)
	for range 2 { // the protocol has a repeated question answered, if only with the same
		c := s.expect(xds.TypeSecret).secret(t, identity)
		if leaf := chain(t, c)[0]; held(c) != old {
			if !second.PublicKey.Equal(leaf.PublicKey) {
				t.Error("not for the second key")
			}
			break
		}
	}
	if n := p.issued(); n != 2 {
		t.Errorf("%d certificates issued, want 2", n)
	}
	if _, m := p.subscription("web-1"); m == nil || m.CertificateRegenerations != 2 {
		t.Errorf("shown: %+v, want 2 regenerations", m)
	}
}

// A proxy with several services has a certificate for each, as it asks for them, and for nothing else.
func TestCertificatePerService(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.put("/meshes/other", `{"type":"Mesh","name":"other","mtls":{"enabledBackend":"ca","backends":[{"name":"ca","type":"builtin"}]}}`)
	p.apply("db-1", dataplane("db-1", "db"))
	for _, variant := range variants {
		before := p.issued()
		s := p.joinBy(p.conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web,web-api,web-admin"))))
		s.ask(xds.TypeSecret, identity, trust, identity+":web-api", identity+":web", identity+":db",
			"identity_cert:secret:other", "mesh_ca:secret:other", "default.ca-builtin-key-ca-1", cptest.KeyName(1))
		u := s.expect(xds.TypeSecret)
		verify(t, u, identity, "spiffe://default/web")
		verify(t, u, identity+":web-api", "spiffe://default/web-api")
		if n := p.issued() - before; n != 2 {
			t.Errorf("%s: %d certificates issued, want 2", variant, n)
		}
		if len(u.resources) != 3 {
			t.Errorf("%s: %d secrets, want 3: %v", variant, len(u.resources), u.resources)
		}
		if variant == "delta" && len(u.removed) != 6 {
			t.Errorf("said to be missing: %q", u.removed)
		}
		if _, m := p.subscription("web-1"); m == nil || m.CertificateRegenerations != 1 {
			t.Errorf("shown: %+v, want 1 regeneration", m)
		}
		s.ask(xds.TypeSecret, identity, trust, identity+":web-api", identity+":web-admin")
		u = s.expect(xds.TypeSecret)
		u.resources[trust] = &tlsv3.Secret{Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: u.resources[identity+":web-admin"].(*tlsv3.Secret).GetTlsCertificate().GetCertificateChain()}}}
		if id := chain(t, u.secret(t, identity+":web-admin"))[0].URIs[0].String(); id != "spiffe://default/web-admin" {
			t.Errorf("it is the certificate of %s", id)
		}
		if _, m := p.subscription("web-1"); m == nil || m.CertificateRegenerations != 1 {
			t.Errorf("shown: %+v, want 1 regeneration", m)
		}
		s.leave()
	}
}

// No certificate outlives the token that it was given for.
func TestCertificateEndsWithToken(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("24h")
	end := time.Now().Add(30 * time.Minute)
	s := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ExpiresAt: end}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	s.ask(xds.TypeSecret, identity, trust)
	leaf := verify(t, s.expect(xds.TypeSecret), identity, "spiffe://default/web")
	if leaf.NotAfter.After(end) || end.Sub(leaf.NotAfter) > 2*time.Second {
		t.Errorf("it ends at %v, and the token at %v", leaf.NotAfter, end)
	}
}

// Nothing is issued anew because something else of the mesh has changed: other secrets, or the mesh itself.
func TestCertificateStays(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	s.ask(xds.TypeSecret, identity, trust)
	s.expect(xds.TypeSecret)
	p.put("/meshes/default/secrets/x", `{"type":"Secret","mesh":"default","name":"x","data":"eA=="}`)
	p.put("/meshes/default/secrets/"+cptest.KeyName(3), cptest.SecretJSON(cptest.KeyName(3), cptest.NewKey(t)))
	p.mtls("2h")
	p.permit("p", "web", "api") // comes last
	s.expect(xds.TypeListener)
	if n := p.issued(); n != 1 {
		t.Errorf("%d certificates issued, want 1", n)
	}
}

// A certificate whose key was made here is made anew in good time, and no more often than that.
func TestCertificateRenewal(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("10s")
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	begin := time.Now()
	s.ask(xds.TypeSecret, identity, trust)
	old := s.expect(xds.TypeSecret).secret(t, identity)
	renewed := s.expect(xds.TypeSecret).secret(t, identity)
	if took := time.Since(begin); took < 4*time.Second || took > 9*time.Second {
		t.Errorf("renewed after %v of 10s", took)
	}
	if bytes.Equal(old.GetPrivateKey().GetInlineBytes(), renewed.GetPrivateKey().GetInlineBytes()) {
		t.Error("with the same key")
	}
	if n := p.issued(); n != 2 {
		t.Errorf("%d certificates issued, want 2", n)
	}
}
