package certstest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// GoodLeaf is the chain that the identity should have: what the bad ones are but for one thing.
func GoodLeaf(tb testing.TB, ca CA, id spiffeid.ID, key crypto.Signer) Leaf {
	tb.Helper()
	return Leaf{Name: "good", Chain: [][]byte{ca.sign(tb, template(id), key.Public())}, Key: key}
}

// BadLeaves are the chains that nobody may take for the identity, each wrong in one way. They are for the given key, but
// for those whose key is what is wrong. The CA is one of the identity's trust domain, that signs no other CAs (pathLen 0)
// and lives for more than an hour.
func BadLeaves(tb testing.TB, ca CA, id spiffeid.ID, key crypto.Signer) []Leaf {
	tb.Helper()
	var all []Leaf
	for _, f := range faults(ca.Cert, id.TrustDomain().Name()) {
		c := template(id)
		f.change(c)
		all = append(all, Leaf{f.name, f.reason, [][]byte{ca.sign(tb, c, key.Public())}, key})
	}
	all = append(all, weakKeys(tb, ca, id)...)
	return append(all, wrongSigners(tb, ca, id, key)...)
}

func template(id spiffeid.ID) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{id.URL()},
	}
}

// fault is one thing that is wrong with a leaf.
type fault struct {
	name, reason string
	change       func(c *x509.Certificate)
}

func faults(ca *x509.Certificate, domain string) []fault {
	return append(wrongNames(domain), append(wrongUsages(), wrongLives(ca)...)...)
}

func wrongNames(domain string) []fault {
	own := "spiffe://" + domain + "/"
	add := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = append(c.URIs, mustParse(s)) }
	}
	only := func(names ...asn1.RawValue) func(*x509.Certificate) {
		return func(c *x509.Certificate) { setNames(c, true, names...) }
	}
	return []fault{
		{"no URI", "has no URI name", func(c *x509.Certificate) { c.URIs = nil }},
		{"DNS only", "has no URI name", only(dns("web"))},
		{"two URIs", "has 2 URI names", add(own + "api")},
		{"two identical URIs", "has 2 URI names", func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }},
		{"SPIFFE and kuma URI", "has 2 URI names", add("kuma://version/1")},
		{"kuma URI only", "which is no SPIFFE ID: scheme", only(uri("kuma://kuma.io/service"))},
		{"root path", "has the identity of a whole trust domain", only(uri("spiffe://" + domain))},
		{"trailing slash", "trailing slash", only(uri(own))},
		{"other trust domain", `is of trust domain "other"`, only(uri("spiffe://other/web"))},
		{"other service", `is that of "` + own + `api"`, only(uri(own + "api"))},
		{"other case of service", `is that of "` + own + `Web"`, only(uri(own + "Web"))},
		{"upper-case scheme", "scheme is missing or invalid", only(uri("SPIFFE://" + domain + "/web"))},
		{"upper-case URI", "scheme is missing or invalid", only(uri(strings.ToUpper(own + "web")))},
		{"upper-case domain", "trust domain characters", only(uri("spiffe://" + strings.ToUpper(domain) + "/web"))},
		{"empty fragment", "path segment characters", only(uri(own + "web#"))},
		{"percent-encoded", "path segment characters", only(uri(own + "%77eb"))},
		{"NUL in the URI", "cannot parse URI", only(uri(own + "web\x00.evil"))},
		{"2049 bytes", "a URI name of 2049 bytes", only(uri(own + strings.Repeat("a", 2049-len(own))))},
		{"long trust domain", "trust domain of more than 255", only(uri("spiffe://" + strings.Repeat("a", 256) + "/web"))},
		{"names not critical", "neither a subject nor critical", func(c *x509.Certificate) { setNames(c, false, uri(c.URIs[0].String())) }},
	}
}

func wrongUsages() []fault {
	usage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = u }
	}
	meant := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	const server, client, signature = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.KeyUsageDigitalSignature
	return []fault{
		{"cA true", "is a CA certificate", func(c *x509.Certificate) { c.IsCA = true }},
		{"keyCertSign", "may sign certificates or CRLs", usage(signature | x509.KeyUsageCertSign)},
		{"cRLSign", "may sign certificates or CRLs", usage(signature | x509.KeyUsageCRLSign)},
		{"no key usage", "has no key usage", usage(0)},
		{"key usage not critical", "a key usage that is not critical", looseKeyUsage},
		{"keyEncipherment only", "may not make digital signatures", usage(x509.KeyUsageKeyEncipherment)},
		{"serverAuth only", "not meant for clients", meant(server)},
		{"clientAuth only", "not meant for servers", meant(client)},
		{"no extended key usage", "not meant for servers", meant()},
		{"codeSigning only", "not meant for servers", meant(x509.ExtKeyUsageCodeSigning)},
		{"codeSigning too", "more than TLS servers and clients", meant(server, client, x509.ExtKeyUsageCodeSigning)},
		{"any usage too", "more than TLS servers and clients", meant(server, client, x509.ExtKeyUsageAny)},
		{"unknown usage too", "more than TLS servers and clients", func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}}
		}},
		{"unknown critical extension", "an unknown critical extension, 1.2.3", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}},
	}
}

func wrongLives(ca *x509.Certificate) []fault {
	return []fault{
		{"expired", "the leaf expired at", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }},
		{"not yet valid", "the leaf is not valid before", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }},
		{"longer than its CA", "outlives its signer", func(c *x509.Certificate) { c.NotAfter = ca.NotAfter.Add(time.Hour) }},
		{"serial 0", "serial number below 1", func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0) }},
		{"SHA-1", "is signed with ECDSA-SHA1", func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }},
	}
}

// weakKeys are leaves for keys that are too weak, or of a kind that nobody agreed on. The CA's key is of EC.
func weakKeys(tb testing.TB, ca CA, id spiffeid.ID) []Leaf {
	tb.Helper()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		tb.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	var all []Leaf
	for _, k := range []struct {
		name string
		key  crypto.Signer
	}{{"RSA-1024", small}, {"P-224", newKey(tb, elliptic.P224())}, {"Ed25519", edwards}} {
		all = append(all, Leaf{k.name, "the leaf has a key that is neither", [][]byte{ca.sign(tb, template(id), k.key.Public())}, k.key})
	}
	return all
}

// wrongSigners are leaves that lead to no CA of their trust domain, or by a way that does not count.
func wrongSigners(tb testing.TB, ca CA, id spiffeid.ID, key crypto.Signer) []Leaf {
	tb.Helper()
	newCA := func(name, domain string) CA {
		k := newKey(tb, elliptic.P256())
		c := caTemplate(name)
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: domain}}
		self := CA{c, k}
		return CA{parse(tb, self.sign(tb, c, k.Public())), k}
	}
	other, twin := newCA("other", "other"), newCA(ca.Cert.Subject.CommonName, id.TrustDomain().Name())
	self := CA{template(id), key}
	good := parse(tb, ca.sign(tb, template(id), key.Public()))
	leafKey, middleKey := newKey(tb, elliptic.P256()), newKey(tb, elliptic.P256())
	middle := CA{parse(tb, ca.sign(tb, caTemplate("middle"), middleKey.Public())), middleKey}
	byLeaf := CA{good, key}.sign(tb, template(id), leafKey.Public())
	const noRoot = "does not lead to a root"
	return []Leaf{
		{"CA of another mesh", noRoot, [][]byte{other.sign(tb, template(id), key.Public())}, key},
		{"CA of another mesh in the chain", `is the CA of "spiffe://other"`, [][]byte{other.sign(tb, template(id), key.Public()), other.Cert.Raw}, key},
		{"another CA of the same name", noRoot, [][]byte{twin.sign(tb, template(id), key.Public())}, key},
		{"self-signed", "signed by its own key", [][]byte{self.sign(tb, template(id), key.Public())}, key},
		{"signed by a leaf", "certificate 2 of the chain is no CA certificate", [][]byte{byLeaf, good.Raw}, leafKey},
		{"an intermediate below pathLen 0", "than it allows (pathLen)", [][]byte{middle.sign(tb, template(id), key.Public()), middle.Cert.Raw}, key},
		{"the CA's own certificate", "is a CA certificate", [][]byte{ca.Cert.Raw}, ca.Key},
	}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Koguma"}},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// setNames sets the alternative names, byte by byte.
func setNames(c *x509.Certificate, critical bool, names ...asn1.RawValue) {
	der, err := asn1.Marshal(names)
	if err != nil {
		panic(err)
	}
	c.URIs = nil
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: critical, Value: der})
}

func uri(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(s)}
}

func dns(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(s)}
}

// looseKeyUsage is digitalSignature in an extension that a peer may pass over.
func looseKeyUsage(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 7, 0x80}}}
}

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
