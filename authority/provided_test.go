package authority_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/authority"
	"koguma/certs"
	"koguma/policy"
)

// signer is a CA that a test makes as it likes.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (s *signer) certPEM() []byte { return certs.EncodeChain([]*x509.Certificate{s.cert}) }

func (s *signer) keyPEM(t *testing.T) []byte {
	t.Helper()
	data, err := certs.EncodeKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newSigner is a CA signed by another, or by itself for nil.
func newSigner(t *testing.T, name string, by *signer, key crypto.Signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if change != nil {
		change(c)
	}
	s := &signer{c, key}
	if by == nil {
		by = s
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

func noSecrets(string) []byte { return nil }

// open opens a backend as a mesh would have it: checked first, and sealed if there is something to seal.
func open(t *testing.T, typ, conf string, secret func(string) []byte) (authority.Authority, error) {
	t.Helper()
	m := new(policy.Mesh)
	text := fmt.Sprintf(`{"type":"Mesh","name":"default","mtls":{"backends":[{"name":"ca-1","type":%q,"conf":%s}]}}`, typ, conf)
	if err := policy.Decode([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	b := &m.MTLS.Backends[0]
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		t.Fatal(err)
	}
	if err := kind.Check(b); err != nil {
		return nil, err
	}
	sealed, err := kind.(authority.Keeper).Seal("default", b)
	if err != nil {
		t.Fatal(err)
	}
	return kind.Open("default", b, func(name string) []byte {
		if data, ok := sealed[name]; ok {
			return data
		}
		return secret(name)
	})
}

func inlineConf(cert, key []byte) string {
	return fmt.Sprintf(`{"cert":{"inline":%q},"key":{"inline":%q}}`,
		base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(key))
}

func issue(t *testing.T, a authority.Authority) []*x509.Certificate {
	t.Helper()
	chain, err := a.Issue(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func request(t *testing.T) certs.Request {
	t.Helper()
	key := newKey(t)
	csr, err := certs.NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(csr)
	return certs.Request{
		Key: key.Public(), CSR: block.Bytes, ID: spiffeid.RequireFromString("spiffe://default/web"), Life: time.Hour, DNS: []string{"web"},
	}
}

// A CA comes from each kind of source, and signs. One that is not a root gives its chain along, and is known by the root.
func TestProvidedSources(t *testing.T) {
	t.Parallel()
	root := newSigner(t, "root", nil, newKey(t), nil)
	middle := newSigner(t, "middle", root, newKey(t), nil)
	low := newSigner(t, "low", middle, newKey(t), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) })
	chain := bytes.Join([][]byte{low.certPEM(), middle.certPEM(), root.certPEM()}, nil)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, data := range map[string][]byte{certFile: chain, keyFile: low.keyPEM(t)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secrets := map[string][]byte{"c": root.certPEM(), "k": root.keyPEM(t)}
	get := func(name string) []byte { return secrets[name] }
	for _, test := range []struct {
		conf string
		from *signer
		sent int // certificates
	}{
		{inlineConf(root.certPEM(), root.keyPEM(t)), root, 1},
		{fmt.Sprintf(`{"cert":{"inlineString":%q},"key":{"inlineString":%q}}`, root.certPEM(), root.keyPEM(t)), root, 1},
		{`{"cert":{"secret":"c"},"key":{"secret":"k"}}`, root, 1},
		{fmt.Sprintf(`{"cert":{"file":%q},"key":{"file":%q}}`, certFile, keyFile), low, 3},
		{inlineConf(chain, low.keyPEM(t)), low, 3},
	} {
		a, err := open(t, "provided", test.conf, get)
		if err != nil {
			t.Errorf("%s: %v", test.conf, err)
			continue
		}
		if roots := a.Roots(); len(roots) != 1 || !roots[0].Equal(root.cert) {
			t.Errorf("%s: another root", test.conf)
		}
		got := issue(t, a)
		if len(got) != test.sent || got[0].CheckSignatureFrom(test.from.cert) != nil || got[0].NotAfter.After(test.from.cert.NotAfter) {
			t.Errorf("%s: %d certificates, until %v", test.conf, len(got), got[0].NotAfter)
		}
	}
}

// saysMD5 is a CA whose certificate says that it was signed with MD5, which nobody signs with any more.
func saysMD5(t *testing.T) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, "x", nil, key, nil)
	oid := []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01") // of PKCS #1; 11 is with SHA-256, 4 with MD5
	der := bytes.ReplaceAll(s.cert.Raw, append(bytes.Clone(oid), 11), append(bytes.Clone(oid), 4))
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

// Bad input 22: each fault has its own reason.
func TestProvidedRefuses(t *testing.T) {
	t.Parallel()
	root := newSigner(t, "root", nil, newKey(t), nil)
	other := newSigner(t, "other", nil, newKey(t), nil)
	middle := newSigner(t, "middle", root, newKey(t), nil)
	leaf := newSigner(t, "leaf", root, newKey(t), func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
	})
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*x509.Certificate)) *signer { return newSigner(t, "x", nil, newKey(t), change) }
	below := func(by *signer, change func(*x509.Certificate)) *signer {
		return newSigner(t, "y", by, newKey(t), change)
	}
	both := func(all ...*signer) (joined []byte) {
		for _, s := range all {
			joined = append(joined, s.certPEM()...)
		}
		return joined
	}
	key := root.keyPEM(t)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	alone := func(s *signer) [2][]byte { return [2][]byte{s.certPEM(), s.keyPEM(t)} }
	capped := changed(func(c *x509.Certificate) { c.MaxPathLenZero = true })
	capped2 := below(capped, nil)
	foreign, _ := url.Parse("spiffe://other")
	for name, test := range map[string]struct {
		pair [2][]byte
		want string
	}{
		"another's key":           {[2][]byte{root.certPEM(), other.keyPEM(t)}, "conf.key: secret \"default.ca-provided-key-ca-1\": it is not the key of the CA certificate"},
		"expired":                 {alone(changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "conf.cert: inline: it expired at"},
		"not yet valid":           {alone(changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })), "it is not valid before"},
		"no CA":                   {alone(changed(func(c *x509.Certificate) { c.IsCA = false })), "it is not a CA certificate"},
		"a leaf":                  {alone(leaf), "it is not a CA certificate"},
		"no keyCertSign":          {alone(changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })), "lacks keyCertSign"},
		"keyAgreement":            {alone(changed(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement })), "has keyAgreement"},
		"only for servers":        {alone(changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), "extended key usage"},
		"RSA-1024":                {alone(newSigner(t, "x", nil, small, nil)), "its RSA key has 1024 bits; use 2048"},
		"P-224":                   {alone(newSigner(t, "x", nil, odd, nil)), "P-224"},
		"SHA-1":                   {alone(changed(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })), "SHA1; use SHA-256"},
		"MD5":                     {alone(saysMD5(t)), "MD5-RSA; use SHA-256"},
		"junk before":             {[2][]byte{append([]byte("junk\n"), root.certPEM()...), key}, "before or after PEM block 1"},
		"junk after":              {[2][]byte{append(root.certPEM(), "junk"...), key}, "before or after PEM block 2"},
		"junk after the key":      {[2][]byte{root.certPEM(), append(bytes.Clone(key), "junk"...)}, "conf.key: secret \"default.ca-provided-key-ca-1\": there is something that is not PEM"},
		"encrypted":               {[2][]byte{root.certPEM(), encrypted}, "it is encrypted"},
		"order":                   {[2][]byte{both(root, middle), middle.keyPEM(t)}, "certificate 1: it is a root, and others follow"},
		"a gap":                   {[2][]byte{both(below(middle, nil), root), middle.keyPEM(t)}, "certificate 1: it is not signed by the next one"},
		"two roots":               {[2][]byte{both(root, other), key}, "certificate 1: it is a root, and the next one is another"},
		"no root":                 {alone(middle), "it is not a root; add"},
		"too deep":                {[2][]byte{both(below(capped2, nil), capped2, capped), key}, "certificate 3: it allows 0 CAs below it (pathLen), and there are 2"},
		"a key in its place":      {[2][]byte{key, key}, `conf.cert: inline: PEM block 1 is a "PRIVATE KEY", not a certificate`},
		"a certificate for a key": {[2][]byte{root.certPEM(), root.certPEM()}, `conf.key: secret "default.ca-provided-key-ca-1": it is a "CERTIFICATE"`},
		"dashes":                  {[2][]byte{bytes.Repeat([]byte("-"), 150<<10), key}, "more than 131072"},
		"blank":                   {[2][]byte{[]byte("\n"), key}, "it is empty"},
		"another mesh's":          {alone(changed(func(c *x509.Certificate) { c.URIs = []*url.URL{foreign} })), `it cannot sign for mesh "default"`},
		"confined to other names": {alone(changed(func(c *x509.Certificate) {
			c.PermittedURIDomains = []string{"example.com"}
			c.PermittedDNSDomainsCritical = true
		})), `it cannot sign for mesh "default"`},
		"no key":         {[2][]byte{root.certPEM(), nil}, "conf.key: must have exactly one of"},
		"no certificate": {[2][]byte{nil, key}, "conf.cert: must have exactly one of"},
	} {
		begin := time.Now()
		_, err := open(t, "provided", inlineConf(test.pair[0], test.pair[1]), noSecrets)
		invalid, ok := errors.AsType[*policy.Invalid](err)
		if !ok || !strings.Contains(invalid.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
			continue
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if d := base64.StdEncoding.EncodeToString(key)[40:80]; strings.Contains(invalid.Error(), d) {
			t.Errorf("%s: the error has the key", name)
		}
	}
}

func TestProvidedConf(t *testing.T) {
	t.Parallel()
	for conf, want := range map[string]string{
		`{}`:                      "conf.cert: must have exactly one",
		`{"cert":{"secret":"c"}}`: "conf.key: must have exactly one",
		`{"cert":{"secret":"c","file":"f"},"key":{"secret":"k"}}`:       "conf.cert: must have exactly one",
		`{"cert":{"secret":"c"},"key":{"secret":"K!"}}`:                 "conf.key.secret: ",
		`{"cert":{"secret":"c"},"key":{"secret":"k"}}`:                  `conf.cert: there is no secret "c" in the mesh`,
		`{"cert":{"file":"/nowhere/c"},"key":{"secret":"k"}}`:           "conf.cert: the control plane cannot read it: stat /nowhere/c",
		`{"cert":{"file":"/dev/zero"},"key":{"secret":"k"}}`:            "not a regular file",
		`{"cert":{"secrets":"c"},"key":{"secret":"k"}}`:                 "conf.cert: unknown field",
		`{"cert":{"inline":"§"},"key":{"secret":"k"}}`:                  "conf.cert.inline: must be base64",
		`{"cert":{"secret":"c"},"key":{"secret":"k"},"password":"abc"}`: "conf: unknown field",
	} {
		if _, err := open(t, "provided", conf, noSecrets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", conf, err, want)
		}
	}
}

// A key in the configuration goes into a secret, and does so once.
func TestProvidedSeal(t *testing.T) {
	t.Parallel()
	b := &policy.Backend{Name: "ca-1", Type: "provided", Conf: `{"cert":{"inlineString":"c"},"key":{"inlineString":"private"}}`}
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		t.Fatal(err)
	}
	keeper := kind.(authority.Keeper)
	secrets, err := keeper.Seal("default", b)
	const name = "default.ca-provided-key-ca-1"
	if err != nil || len(secrets) != 1 || string(secrets[name]) != "private" || keeper.KeySecret(b) != name {
		t.Errorf("%d secrets, %v", len(secrets), err)
	}
	if want := policy.Document(`{"cert":{"inlineString":"c"},"key":{"secret":"` + name + `"}}`); b.Conf != want {
		t.Errorf("got %s", b.Conf)
	}
	if again, err := keeper.Seal("default", b); err != nil || again != nil {
		t.Errorf("sealed again: %d, %v", len(again), err)
	}
}

// A CA from files says when they have changed, and not when one of them is away for a moment.
func TestProvidedFilesGoStale(t *testing.T) {
	t.Parallel()
	root := newSigner(t, "root", nil, newKey(t), nil)
	file := filepath.Join(t.TempDir(), "cert")
	write := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(root.certPEM())
	a, err := open(t, "provided", fmt.Sprintf(`{"cert":{"file":%q},"key":{"inlineString":%q}}`, file, root.keyPEM(t)), noSecrets)
	if err != nil {
		t.Fatal(err)
	}
	stale := a.(authority.Reloader).Stale
	if write(root.certPEM()); stale() {
		t.Error("the same content is another one")
	}
	if err := os.Remove(file); err != nil || stale() {
		t.Error("without the file it is another one")
	}
	if write(append(root.certPEM(), '\n')); !stale() {
		t.Error("another content is the same")
	}
}
