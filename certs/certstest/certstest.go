// Package certstest has what tests of several rooms ask of certificates: the leaves that nobody may take for an identity,
// and judges that know nothing of us. It shares no code with package certs.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"
)

// CA is a certificate authority whose key the test has, to sign what our own code would not.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// ParseCA reads a CA from one certificate and its key (PKCS#8), both in PEM.
func ParseCA(certPEM, keyPEM []byte) (CA, error) {
	cert, _ := pem.Decode(certPEM)
	key, _ := pem.Decode(keyPEM)
	if cert == nil || key == nil {
		return CA{}, errors.New("no PEM")
	}
	c, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return CA{}, err
	}
	k, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return CA{}, err
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return CA{}, fmt.Errorf("a %T does not sign", k)
	}
	return CA{c, signer}, nil
}

// Leaf is a certificate chain in DER, the leaf first, with the leaf's key.
type Leaf struct {
	Name   string // what is wrong with it
	Reason string // a part of what the checker says of it
	Chain  [][]byte
	Key    crypto.Signer
}

// TLS is the leaf as a peer presents it.
func (l Leaf) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: l.Chain, PrivateKey: l.Key}
}

// sign makes a certificate of a template, in DER.
func (ca CA) sign(tb testing.TB, c *x509.Certificate, pub crypto.PublicKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, ca.Cert, pub, ca.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func newKey(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func parse(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
