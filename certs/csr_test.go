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
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	"koguma/certs"
)

func newCSR(tb testing.TB, key crypto.Signer, change func(*x509.CertificateRequest)) []byte {
	tb.Helper()
	r := &x509.CertificateRequest{}
	change(r)
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// A request gives its key and nothing else: what it asks for does not get into the certificate.
func TestParseCSR(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{newKey(t), p384, rsa2048} {
		greedy := newCSR(t, key, func(r *x509.CertificateRequest) {
			r.Subject = pkix.Name{CommonName: "admin"}
			r.DNSNames = []string{"kuma-cp"}
			r.URIs = []*url.URL{parse("spiffe://default/admin"), parse("spiffe://default/other")}
		})
		plain, err := certs.NewCSR(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, csr := range [][]byte{plain, greedy, append([]byte("\n"), plain...)} {
			got, err := certs.ParseCSR(csr)
			if err != nil {
				t.Fatal(err)
			}
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got) {
				t.Errorf("%T: another key", key)
			}
			leaf := issue(t, m.ca, certs.Request{Key: got, ID: web, Life: time.Hour})[0]
			if len(leaf.Subject.Names)+len(leaf.DNSNames) > 0 || len(leaf.URIs) != 1 {
				t.Errorf("the leaf has %q, %q, %v", leaf.Subject, leaf.DNSNames, leaf.URIs)
			}
		}
	}
}

func TestParseCSRRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	keep := func(*x509.CertificateRequest) {}
	good := newCSR(t, key, keep)
	block, _ := pem.Decode(good)
	forged := bytes.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	encode := func(typ string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "it is empty"},
		"no PEM":           {[]byte("hello"), "not PEM"},
		"DER":              {block.Bytes, "not PEM"},
		"two":              {append(bytes.Clone(good), good...), "2 PEM blocks"},
		"text before":      {append([]byte("x\n"), good...), "not PEM"},
		"text after":       {append(bytes.Clone(good), 'x'), "not PEM"},
		"broken, then two": {append([]byte("-----BEGIN X-----\n"), good...), "broken"},
		"cut":              {good[:len(good)-5], "broken"},
		"headers":          {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Headers: map[string]string{"A": "b"}, Bytes: block.Bytes}), "headers"},
		"certificate":      {encode("CERTIFICATE", block.Bytes), `it is a "CERTIFICATE"`},
		"no request":       {encode("CERTIFICATE REQUEST", []byte{5, 0}), "certificate request: "},
		"bytes after":      {encode("CERTIFICATE REQUEST", append(bytes.Clone(block.Bytes), 0)), "trailing data"},
		"forged":           {encode("CERTIFICATE REQUEST", forged), "not by its own key"},
		"too long":         {append(bytes.Clone(good), bytes.Repeat([]byte("\n"), 8<<10)...), "more than 8192"},
		"Ed25519":          {newCSR(t, edwards, keep), "neither ECDSA nor RSA"},
		"RSA-1024":         {newCSR(t, small, keep), "1024 bits"},
		"P-521":            {newCSR(t, p521, keep), "P-521"},
		"SHA-1":            {newCSR(t, key, func(r *x509.CertificateRequest) { r.SignatureAlgorithm = x509.ECDSAWithSHA1 }), "ECDSA-SHA1"},
	} {
		if _, err := certs.ParseCSR(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// What ParseCSR takes has a good signature by the key that it returns, and a CA signs that key.
func FuzzParseCSR(f *testing.F) {
	m := newMesh(f, "default")
	good := newCSR(f, newKey(f), func(*x509.CertificateRequest) {})
	f.Add(good)
	f.Add(append([]byte("-----BEGIN X-----\n"), good...))
	f.Add(newCSR(f, newKey(f), func(r *x509.CertificateRequest) { r.DNSNames = []string{"a"} }))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := certs.ParseCSR(data)
		if err != nil {
			return
		}
		block, _ := pem.Decode(data)
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || csr.CheckSignature() != nil {
			t.Errorf("accepted %q", data)
		}
		issue(t, m.ca, certs.Request{Key: key, ID: web, Life: time.Hour})
	})
}
