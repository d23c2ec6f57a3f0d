package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"koguma/certs"
)

// The CA of a mesh has the form that the SPIFFE standard and the house rules give it.
func TestNewCA(t *testing.T) {
	t.Parallel()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", URI: parse("spiffe://default"), Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := ca.Certificate()
	if got, want := c.Subject.String(), "CN=default,O=Koguma"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://default" {
		t.Errorf("URIs %v", c.URIs)
	}
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero {
		t.Errorf("cA %v, pathLen %d", c.IsCA, c.MaxPathLen)
	}
	if c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("key usage %b", c.KeyUsage)
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidKeyUsage) && !e.Critical {
			t.Error("key usage not critical")
		}
	}
	if c.SerialNumber.BitLen() < 64 || len(c.SubjectKeyId) == 0 {
		t.Errorf("serial %x, key id %x", c.SerialNumber, c.SubjectKeyId)
	}
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("key %T", c.PublicKey)
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		t.Error(err)
	}
}

func TestNewCARefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []certs.CAOptions{
		{Life: 0},
		{Life: -time.Hour},
		{Life: time.Hour, RSABits: 1024},
		{Life: time.Hour, RSABits: 1 << 20},
		{Life: time.Hour, RSABits: -1},
	} {
		if _, err := certs.NewCA(o); err == nil {
			t.Errorf("%+v: made", o)
		}
	}
}

// pair is a CA in PEM, its key in any of the encodings.
func pair(tb testing.TB, key crypto.Signer, change func(*x509.Certificate)) (cert, pkcs8 []byte) {
	tb.Helper()
	c := caTemplate()
	change(c)
	der := create(tb, c, c, key.Public(), key).Raw
	pkcs8, err := certs.EncodeKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pkcs8
}

// A CA that was written down comes back with every encoding of its key, and issues.
func TestLoadCA(t *testing.T) {
	t.Parallel()
	ec := newKey(t)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(*x509.Certificate) {}
	ecCert, ecKey := pair(t, ec, keep)
	rsaCert, rsaKey := pair(t, long, keep)
	m := newMesh(t, "default")
	ownKey, err := m.ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ cert, key []byte }{
		"our own":        {m.ca.CertPEM(), ownKey},
		"EC as PKCS#8":   {ecCert, ecKey},
		"EC as SEC 1":    {ecCert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})},
		"RSA as PKCS#8":  {rsaCert, rsaKey},
		"RSA as PKCS#1":  {rsaCert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(long)})},
		"blanks around":  {append([]byte("\r\n"), append(ecCert, "\n\n"...)...), ecKey},
		"CRLF line ends": {bytes.ReplaceAll(ecCert, []byte("\n"), []byte("\r\n")), ecKey},
	} {
		ca, err := certs.LoadCA(test.cert, test.key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		chain := issue(t, ca, certs.Request{Key: m.leaf.Public(), ID: web, Life: time.Hour})
		judge(t, chain, ca)
		if !bytes.Equal(bytes.TrimSpace(ca.CertPEM()), bytes.TrimSpace(bytes.ReplaceAll(test.cert, []byte("\r"), nil))) {
			t.Errorf("%s: another certificate", name)
		}
	}
}

func TestLoadCARefusesCertificate(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good, keyPEM := pair(t, key, func(*x509.Certificate) {})
	changed := func(change func(*x509.Certificate)) []byte {
		cert, _ := pair(t, key, change)
		return cert
	}
	for name, test := range map[string]struct {
		cert []byte
		want string
	}{
		"nothing":                {nil, "it is empty"},
		"a key":                  {keyPEM, `a "PRIVATE KEY", not a certificate`},
		"junk after":             {append(bytes.Clone(good), "junk"...), "not PEM before or after PEM block 2"},
		"junk before":            {append([]byte("junk\n"), good...), "not PEM before or after PEM block 1"},
		"two":                    {append(bytes.Clone(good), good...), "it holds 2 certificates"},
		"dashes":                 {bytes.Repeat([]byte("-"), 1<<20), "more than 131072"},
		"broken DER":             {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "certificate 1: "},
		"a leaf":                 {changed(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature }), "not a CA certificate"},
		"no keyCertSign":         {changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), "lacks keyCertSign"},
		"no key usage":           {changed(func(c *x509.Certificate) { c.KeyUsage = 0 }), "lacks keyCertSign"},
		"key usage not critical": {changed(looseCAKeyUsage), "not marked critical"},
		"expired":                {changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "it expired at"},
		"not yet valid":          {changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "not valid before"},
		"SHA-1":                  {changed(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), "ECDSA-SHA1; use SHA-256"},
		"unknown critical": {changed(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), "critical extension that nobody here knows: 1.2.3"},
	} {
		if _, err := certs.LoadCA(test.cert, keyPEM); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestLoadCARefusesKey(t *testing.T) {
	t.Parallel()
	keep := func(*x509.Certificate) {}
	cert, good := pair(t, newKey(t), keep)
	_, other := pair(t, newKey(t), keep)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallCert, smallKey := pair(t, small, keep)
	old := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}}
	for name, test := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"nothing":           {cert, nil, "CA key: it is empty"},
		"another's":         {cert, other, "not the key of the CA certificate"},
		"a certificate":     {cert, cert, `it is a "CERTIFICATE", not a private key`},
		"junk after":        {cert, append(bytes.Clone(good), "junk"...), "not PEM"},
		"two":               {cert, append(bytes.Clone(good), good...), "2 PEM blocks"},
		"encrypted PKCS#8":  {cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), "it is encrypted"},
		"encrypted PKCS#1":  {cert, pem.EncodeToMemory(old), "it is encrypted"},
		"RSA-1024":          {smallCert, smallKey, "1024 bits"},
		"broken":            {cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), "CA key: "},
		"wrong type of PEM": {cert, bytes.ReplaceAll(good, []byte("PRIVATE"), []byte("EC PRIVATE")), "CA key: "},
	} {
		_, err := certs.LoadCA(test.cert, test.key)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// A CA that is printed by mistake keeps its key to itself.
func TestCAKeepsItsKey(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	raw, err := m.key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := new(big.Int).SetBytes(raw).String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, m.ca); strings.Contains(got, d) {
			t.Errorf("%s shows the key", verb)
		}
	}
}

// A chain that was written is the one that is read, and no more than ten certificates are.
func TestParseChain(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	leaf := m.sign(t, func(*x509.Certificate) {})
	chain := []*x509.Certificate{leaf, m.ca.Certificate()}
	got, err := certs.ParseChain(certs.EncodeChain(chain))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].Equal(leaf) || !got[1].Equal(m.ca.Certificate()) {
		t.Errorf("got %d certificates, or others", len(got))
	}
	if _, err := certs.ParseChain(bytes.Repeat(m.ca.CertPEM(), 11)); err == nil || !strings.Contains(err.Error(), "more than 10") {
		t.Errorf("eleven: got %v", err)
	}
}
