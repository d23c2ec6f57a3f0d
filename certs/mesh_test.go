package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
	"koguma/certs/certstest"
)

// mesh is a CA whose key the test has, too, to sign what our own code would not.
type mesh struct {
	ca   *certs.CA
	key  crypto.Signer
	leaf *ecdsa.PrivateKey // of the certificates that it signs
}

func newMesh(tb testing.TB, name string) mesh {
	tb.Helper()
	ca, err := certs.NewCA(certs.CAOptions{
		CommonName: name,
		URI:        spiffeid.RequireTrustDomainFromString(name).ID().URL(),
		Life:       24 * time.Hour,
	})
	if err != nil {
		tb.Fatal(err)
	}
	text, err := ca.KeyPEM()
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return mesh{ca, key.(crypto.Signer), newKey(tb)}
}

// corpus is the CA as the corpus of bad leaves wants it.
func (m mesh) corpus() certstest.CA { return certstest.CA{Cert: m.ca.Certificate(), Key: m.key} }

func (m mesh) roots() []*x509.Certificate { return []*x509.Certificate{m.ca.Certificate()} }

// sign makes the leaf that spiffe://default/web should have, but for the change.
func (m mesh) sign(tb testing.TB, change func(c *x509.Certificate)) *x509.Certificate {
	tb.Helper()
	return m.signKey(tb, m.leaf.Public(), change)
}

func (m mesh) signKey(tb testing.TB, key crypto.PublicKey, change func(c *x509.Certificate)) *x509.Certificate {
	tb.Helper()
	c := template()
	change(c)
	return create(tb, c, m.ca.Certificate(), key, m.key)
}

func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(7),
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{web.URL()},
	}
}

var web = spiffeid.RequireFromString("spiffe://default/web")

func create(tb testing.TB, c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := certs.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func issue(tb testing.TB, i certs.Issuer, r certs.Request) []*x509.Certificate {
	tb.Helper()
	chain, err := i.Issue(tb.Context(), r)
	if err != nil {
		tb.Fatal(err)
	}
	return chain
}
