package certs_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"koguma/certs"
)

var (
	oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidAltNames = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// names sets the alternative names, byte by byte.
func names(c *x509.Certificate, critical bool, names ...asn1.RawValue) {
	der, err := asn1.Marshal(names)
	if err != nil {
		panic(err)
	}
	c.URIs = nil
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidAltNames, Critical: critical, Value: der})
}

func uri(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(s)}
}

func dns(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(s)}
}

func looseKeyUsage(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: oidKeyUsage, Value: []byte{3, 2, 7, 0x80}}}
}

func parse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func refused(t *testing.T, name, want string, chain, roots []*x509.Certificate) {
	t.Helper()
	err := certs.Check(chain, roots, web, time.Now())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

// A URI with a NUL does not become a certificate at all: no later reader can be led to stop there.
func TestParseChainRefusesNUL(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	c := template()
	names(c, true, uri("spiffe://default/web\x00.evil"))
	der, err := x509.CreateCertificate(rand.Reader, c, m.ca.Certificate(), m.leaf.Public(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	if chain, err := certs.ParseChain(certs.EncodeChain([]*x509.Certificate{{Raw: der}})); err == nil {
		t.Errorf("parsed, with URIs %q", chain[0].URIs)
	}
	names(c, true, uri(web.String())) // the same by hand, past the parser: Check reads for itself
	good := m.sign(t, func(*x509.Certificate) {})
	for i, e := range good.Extensions {
		if e.Id.Equal(oidAltNames) {
			good.Extensions[i].Value = c.ExtraExtensions[0].Value
		}
	}
	refused(t, "NUL", "path segment characters", []*x509.Certificate{good}, m.roots())
}

// A root whose key is too weak does not count.
func TestCheckRefusesWeakRoot(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	root := create(t, caTemplate(), caTemplate(), weak.Public(), weak)
	leaf := create(t, template(), root, newKey(t).Public(), weak)
	refused(t, "root", "the signer \"CN=default\" has a key", []*x509.Certificate{leaf}, []*x509.Certificate{root})
}

func caTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(3),
		Subject:               pkix.Name{CommonName: "default"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(23 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// A leaf counts for something under the right roots only.
func TestCheckRefusesRoots(t *testing.T) {
	t.Parallel()
	m, other := newMesh(t, "default"), newMesh(t, "other")
	same := func(*x509.Certificate) {}
	good := m.sign(t, same)
	list := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	refused(t, "empty chain", "the chain is empty", nil, m.roots())
	refused(t, "no roots", "does not lead to a root", list(good), nil)
	refused(t, "another mesh's CA as the root", `is the CA of "spiffe://other", not of "spiffe://default"`, list(other.sign(t, same)), other.roots())
	refused(t, "its own root", "the leaf is its own root", list(good), list(good))
}

// A CA in the middle is held to what CAs are held to.
func TestCheckRefusesIntermediate(t *testing.T) {
	t.Parallel()
	rootKey, middle, leaf := newKey(t), newKey(t), newKey(t)
	root := create(t, caTemplate(), caTemplate(), rootKey.Public(), rootKey)
	for name, test := range map[string]struct {
		change func(c *x509.Certificate)
		want   string
	}{
		"good":                   {func(*x509.Certificate) {}, ""},
		"its trust domain's":     {func(c *x509.Certificate) { c.URIs = []*url.URL{parse("spiffe://default")} }, ""},
		"another's":              {func(c *x509.Certificate) { c.URIs = []*url.URL{parse("spiffe://other")} }, `is the CA of "spiffe://other"`},
		"a workload's":           {func(c *x509.Certificate) { c.URIs = []*url.URL{parse("spiffe://default/ca")} }, `is the CA of "spiffe://default/ca"`},
		"no keyCertSign":         {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, "no keyCertSign"},
		"no key usage":           {func(c *x509.Certificate) { c.KeyUsage = 0 }, "no keyCertSign"},
		"key usage not critical": {func(c *x509.Certificate) { looseCAKeyUsage(c) }, "a key usage that is not critical"},
		"expired":                {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, "certificate 2 of the chain expired"},
		"SHA-1":                  {func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }, "certificate 2 of the chain is signed with ECDSA-SHA1"},
	} {
		c := caTemplate()
		c.Subject.CommonName = "middle"
		test.change(c)
		signer := create(t, c, root, middle.Public(), rootKey)
		chain := []*x509.Certificate{create(t, template(), signer, leaf.Public(), middle), signer}
		if test.want != "" {
			refused(t, name, test.want, chain, []*x509.Certificate{root})
		} else if err := certs.Check(chain, []*x509.Certificate{root}, web, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func looseCAKeyUsage(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: oidKeyUsage, Value: []byte{3, 2, 2, 4}}}
}

// The moments at which a certificate begins and ends belong to it.
func TestCheckTime(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	leaf := m.sign(t, func(*x509.Certificate) {})
	for _, test := range []struct {
		at   time.Time
		good bool
	}{
		{leaf.NotBefore.Add(-time.Second), false},
		{leaf.NotBefore, true},
		{leaf.NotAfter, true},
		{leaf.NotAfter.Add(time.Second), false},
		{time.Time{}, false}, // which crypto/x509 would take for now
	} {
		err := certs.Check([]*x509.Certificate{leaf}, m.roots(), web, test.at)
		if (err == nil) != test.good {
			t.Errorf("at %v: got %v, want good: %v", test.at, err, test.good)
		}
	}
}

// No bytes make Check panic, and what it accepts under a real signature, go-spiffe accepts, too.
func FuzzCheck(f *testing.F) {
	m := newMesh(f, "default")
	f.Add(m.sign(f, func(*x509.Certificate) {}).RawTBSCertificate)
	f.Add(m.sign(f, func(c *x509.Certificate) { names(c, true, dns("a"), uri(web.String())) }).RawTBSCertificate)
	f.Add(m.sign(f, looseKeyUsage).RawTBSCertificate)
	f.Add(m.sign(f, func(c *x509.Certificate) { names(c, true, uri("SPIFFE://default/web#")) }).RawTBSCertificate)
	domain := spiffeid.RequireTrustDomainFromString("default")
	bundle := x509bundle.FromX509Authorities(domain, m.roots())
	f.Fuzz(func(t *testing.T, tbs []byte) {
		leaf, err := x509.ParseCertificate(m.signBytes(t, tbs))
		if err != nil {
			return
		}
		chain := []*x509.Certificate{leaf}
		now := leaf.NotBefore
		if now.Before(m.ca.Certificate().NotBefore) {
			now = m.ca.Certificate().NotBefore
		}
		if certs.Check(chain, m.roots(), web, now) != nil {
			return
		}
		id, _, err := x509svid.Verify(chain, bundle, x509svid.WithTime(now))
		if err != nil || id != web {
			t.Errorf("go-spiffe says %v, %v of %x", id, err, leaf.Raw)
		}
		if len(leaf.URIs) != 1 || leaf.IsCA || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			t.Errorf("accepted: %x", leaf.Raw)
		}
	})
}

// signBytes signs what need not be a certificate.
func (m mesh) signBytes(t *testing.T, tbs []byte) []byte {
	t.Helper()
	like := m.sign(t, func(*x509.Certificate) {})
	var cert struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(like.Raw, &cert); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(tbs)
	signature, err := m.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	cert.TBS = asn1.RawValue{FullBytes: tbs}
	cert.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(cert)
	if err != nil {
		return nil
	}
	return der
}
