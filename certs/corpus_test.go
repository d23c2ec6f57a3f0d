package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"koguma/certs"
	"koguma/certs/certstest"
)

// read parses a chain as all of our programs do, and checks it as the identity of web.
func read(l certstest.Leaf, roots []*x509.Certificate) error {
	var text []byte
	for _, der := range l.Chain {
		text = append(text, certstest.EncodePEM([]*x509.Certificate{{Raw: der}})...)
	}
	chain, err := certs.ParseChain(text)
	if err != nil {
		return err
	}
	return certs.Check(chain, roots, web, time.Now())
}

// Every way in which a leaf can be wrong is seen, and has its own reason.
func TestBadLeavesAreRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	if err := read(certstest.GoodLeaf(t, m.corpus(), web, m.leaf), m.roots()); err != nil {
		t.Error("the good one: ", err)
	}
	for _, l := range certstest.BadLeaves(t, m.corpus(), web, m.leaf) {
		if err := read(l, m.roots()); err == nil || !strings.Contains(err.Error(), l.Reason) {
			t.Errorf("%s: got %v, want %q", l.Name, err, l.Reason)
		}
	}
}

// What a CA issues is what it was asked for, or nothing: whatever names, keys and lives it is asked for, none of it is a
// leaf that the standard forbids. It is judged by what crypto/x509 and go-spiffe read in it, and not by [certs.Check].
func FuzzIssue(f *testing.F) {
	m := newMesh(f, "default")
	keys := someKeys(f)
	for key := range keys {
		f.Add("default", "web", "web.mesh", int64(time.Hour), int64(0), uint8(key))
	}
	f.Add("default", "web\x00.evil", "", int64(time.Hour), int64(0), uint8(0))
	f.Add("default", strings.Repeat("a", 2049), "", int64(time.Hour), int64(0), uint8(0))
	f.Add("DEFAULT", "WEB", "A", int64(time.Hour), int64(0), uint8(0))
	f.Add("default", "", "a,URI:spiffe://default/api", int64(time.Hour), int64(0), uint8(0))
	f.Add("other", "web", "", int64(time.Hour), int64(0), uint8(0))
	f.Add("default", "web", "", int64(1<<62), int64(0), uint8(0))
	f.Add("default", "web", "", int64(-1), int64(0), uint8(0))
	f.Add("default", "web", "", int64(time.Hour), int64(1), uint8(0))
	f.Add("default", "web", "", int64(time.Hour), int64(-1)<<62, uint8(0))
	f.Fuzz(func(t *testing.T, mesh, service, dns string, life, bound int64, key uint8) {
		checkIssue(t, m, keys[int(key)%len(keys)], mesh, service, dns, time.Duration(life), time.Duration(bound))
	})
}

// The same for ten thousand requests that were put together by lot.
func TestIssueByLot(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	keys := someKeys(t)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	span := func() time.Duration {
		return time.Duration(r.Int64N(int64(72*time.Hour))) - 24*time.Hour
	}
	issued := 0
	for range 10_000 {
		mesh := pick("default", "default", "default", "other", "DEFAULT", "spiffe://default", "default/x", "")
		service := pick("web", "web", "api", "Web", ".", "..", "a/b", "a%2fb", "web\x00x", "web#", "web?", "*", "", strings.Repeat("a", 2100))
		dns := pick("", "", "web", "a.b", "*.a", "A", "a\x00b", "spiffe://default/api", strings.Repeat("a", 64))
		if checkIssue(t, m, keys[r.IntN(len(keys))], mesh, service, dns, span(), span()) {
			issued++
		}
	}
	if issued < 50 {
		t.Errorf("only %d of the requests were granted: what does this show?", issued)
	}
	t.Logf("%d of 10,000 were granted", issued)
}

// someKeys are good keys and bad ones.
func someKeys(tb testing.TB) []crypto.PublicKey {
	tb.Helper()
	keys := []crypto.PublicKey{nil, &rsa.PublicKey{N: big.NewInt(35), E: 3}, "no key"}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, key.Public())
	}
	for _, bits := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, key.Public())
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return append(keys, edwards)
}

// checkIssue asks for a certificate, and looks at it if there is one. No bound is the zero duration.
func checkIssue(t *testing.T, m mesh, key crypto.PublicKey, mesh, service, dns string, life, bound time.Duration) (issued bool) {
	t.Helper()
	r := certs.Request{Key: key, Life: life}
	id, err := certs.WorkloadID(mesh, service)
	if err == nil {
		r.ID = id
	}
	if dns != "" {
		r.DNS = strings.Split(dns, ",")
	}
	if bound != 0 {
		r.NotAfter = time.Now().Add(bound)
	}
	before := time.Now()
	chain, err := m.ca.Issue(t.Context(), r)
	if err != nil {
		return false
	}
	if err := checkGranted(chain, r, m.ca.Certificate(), before); err != "" {
		t.Errorf("%+v: %s in %x", r, err, chain[0].Raw)
	}
	return true
}

// checkGranted says what is wrong with what was issued for a request.
func checkGranted(chain []*x509.Certificate, r certs.Request, ca *x509.Certificate, asked time.Time) string {
	leaf := chain[0]
	id, _, err := x509svid.Verify(chain, x509bundle.FromX509Authorities(web.TrustDomain(), []*x509.Certificate{ca}))
	strong := false
	switch k := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		strong = k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case *rsa.PublicKey:
		strong = k.N.BitLen() >= 2048
	}
	end := asked.Add(r.Life)
	switch {
	case err != nil:
		return "go-spiffe says " + err.Error()
	case id != r.ID || id.TrustDomain() != web.TrustDomain():
		return "the identity of " + id.String()
	case len(leaf.URIs) != 1 || !bytes.Contains(leaf.Raw, []byte(r.ID.String())) || strings.ContainsRune(r.ID.String(), 0):
		return "other URIs than the one"
	case len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 || len(leaf.DNSNames) != len(r.DNS):
		return "names that nobody asked for"
	case leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 2 || len(leaf.UnknownExtKeyUsage) > 0:
		return "other usages"
	case len(leaf.Subject.Names) > 0 || leaf.SerialNumber.Sign() <= 0:
		return "a subject, or no serial number"
	case leaf.NotAfter.After(ca.NotAfter) || !r.NotAfter.IsZero() && leaf.NotAfter.After(r.NotAfter):
		return "a life beyond its bounds"
	case r.Life < 24*time.Hour && leaf.NotAfter.After(end.Add(2*time.Second)), leaf.NotAfter.Before(asked.Add(-time.Second)):
		return "another life"
	case !strong:
		return "a weak key"
	case leaf.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return "another digest"
	}
	return ""
}

// Of each kind of CA and key that there can be, go-spiffe and OpenSSL take the leaf for what it is.
func TestIndependentJudges(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"EC P-256": newKey(t), "EC P-384": p384, "RSA": long}
	for name, o := range map[string]certs.CAOptions{
		"EC CA":  {CommonName: "default", URI: parse("spiffe://default"), Life: time.Hour},
		"RSA CA": {CommonName: "default", URI: parse("spiffe://default"), Life: time.Hour, RSABits: 2048},
		"no URI": {CommonName: "default", Life: time.Hour},
	} {
		ca, err := certs.NewCA(o)
		if err != nil {
			t.Fatal(err)
		}
		for kind, key := range keys {
			csr, err := certs.NewCSR(key)
			if err != nil {
				t.Fatal(err)
			}
			public, err := certs.ParseCSR(csr)
			if err != nil {
				t.Fatal(err)
			}
			for more, r := range map[string]certs.Request{
				"plain":      {Key: public, ID: web, Life: time.Hour},
				"DNS names":  {Key: public, ID: web, Life: time.Hour, DNS: []string{"version-1.tag", "a_b"}},
				"with bound": {Key: public, ID: web, Life: time.Hour, NotAfter: time.Now().Add(time.Minute)},
			} {
				chain := issue(t, ca, r)
				if err := certstest.Judge(t, chain, []*x509.Certificate{ca.Certificate()}, key, web.String()); err != nil {
					t.Errorf("%s, %s, %s: %v", name, kind, more, err)
				}
			}
		}
	}
}

// The judges are no rubber stamps: what each refuses is refused.
func TestJudgesRefuse(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	for name, change := range map[string]func(c *x509.Certificate){
		"go-spiffe: ":                       func(c *x509.Certificate) { c.URIs = append(c.URIs, parse("spiffe://default/api")) },
		"-purpose sslclient":                func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] },
		"-purpose sslserver":                func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] },
		`no "X509v3 Key Usage: critical"`:   looseKeyUsage,
		`below "X509v3 Subject Alternative`: func(c *x509.Certificate) { c.URIs = []*url.URL{parse("spiffe://default/Web")} },
	} {
		leaf := m.sign(t, change)
		if err := certstest.Judge(t, []*x509.Certificate{leaf}, m.roots(), m.leaf, web.String()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
	other := spiffeid.RequireFromString("spiffe://default/api")
	if certstest.Judge(t, []*x509.Certificate{m.sign(t, func(*x509.Certificate) {})}, m.roots(), nil, other.String()) == nil {
		t.Error("another identity is taken")
	}
}
