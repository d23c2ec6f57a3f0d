package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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

// Every way in which one leaf can be wrong has its own reason.
func TestCheckRefusesLeaf(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	long := "spiffe://default/" + strings.Repeat("a", 2049-len("spiffe://default/"))
	for name, test := range map[string]struct {
		change func(c *x509.Certificate)
		want   string
	}{
		"no URI":                 {func(c *x509.Certificate) { c.URIs = nil }, "the leaf has no URI name"},
		"two URIs":               {func(c *x509.Certificate) { c.URIs = append(c.URIs, parse("spiffe://default/api")) }, "has 2 URI names"},
		"two identical URIs":     {func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, "has 2 URI names"},
		"SPIFFE and kuma URI":    {func(c *x509.Certificate) { c.URIs = append(c.URIs, parse("kuma://version/1")) }, "has 2 URI names"},
		"kuma URI only":          {func(c *x509.Certificate) { c.URIs[0] = parse("kuma://kuma.io/service") }, `"kuma://kuma.io/service", which is no SPIFFE ID: scheme`},
		"DNS only":               {func(c *x509.Certificate) { names(c, true, dns("web")) }, "has no URI name"},
		"root path":              {func(c *x509.Certificate) { c.URIs[0] = parse("spiffe://default") }, "has the identity of a whole trust domain"},
		"trailing slash":         {func(c *x509.Certificate) { c.URIs[0] = parse("spiffe://default/") }, "trailing slash"},
		"other trust domain":     {func(c *x509.Certificate) { c.URIs[0] = parse("spiffe://other/web") }, `is of trust domain "other", not "default"`},
		"other service":          {func(c *x509.Certificate) { c.URIs[0] = parse("spiffe://default/api") }, `is that of "spiffe://default/api"`},
		"other case of service":  {func(c *x509.Certificate) { c.URIs[0] = parse("spiffe://default/Web") }, `is that of "spiffe://default/Web"`},
		"upper-case scheme":      {func(c *x509.Certificate) { names(c, true, uri("SPIFFE://default/web")) }, "scheme is missing or invalid"},
		"upper-case URI":         {func(c *x509.Certificate) { names(c, true, uri("SPIFFE://DEFAULT/WEB")) }, "scheme is missing or invalid"},
		"upper-case domain":      {func(c *x509.Certificate) { names(c, true, uri("spiffe://Default/web")) }, "trust domain characters"},
		"empty fragment":         {func(c *x509.Certificate) { names(c, true, uri("spiffe://default/web#")) }, "path segment characters"},
		"percent-encoded":        {func(c *x509.Certificate) { names(c, true, uri("spiffe://default/%77eb")) }, "path segment characters"},
		"2049 bytes":             {func(c *x509.Certificate) { names(c, true, uri(long)) }, "a URI name of 2049 bytes"},
		"long trust domain":      {func(c *x509.Certificate) { names(c, true, uri("spiffe://"+strings.Repeat("a", 256)+"/web")) }, "trust domain of more than 255"},
		"names not critical":     {func(c *x509.Certificate) { names(c, false, uri(web.String())) }, "neither a subject nor critical"},
		"CA":                     {func(c *x509.Certificate) { c.IsCA = true }, "is a CA certificate"},
		"keyCertSign":            {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "may sign certificates or CRLs"},
		"cRLSign":                {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, "may sign certificates or CRLs"},
		"no key usage":           {func(c *x509.Certificate) { c.KeyUsage = 0 }, "has no key usage"},
		"key usage not critical": {func(c *x509.Certificate) { looseKeyUsage(c) }, "a key usage that is not critical"},
		"keyEncipherment only":   {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, "may not make digital signatures"},
		"serverAuth only":        {func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, "not meant for clients"},
		"clientAuth only":        {func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "not meant for servers"},
		"no extended key usage":  {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "not meant for servers"},
		"codeSigning too":        {func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) }, "more than TLS servers and clients"},
		"any usage too":          {func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny) }, "more than TLS servers and clients"},
		"unknown usage too":      {func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, "more than TLS servers and clients"},
		"expired":                {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, "the leaf expired at"},
		"not yet valid":          {func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, "the leaf is not valid before"},
		"longer than its CA":     {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(25 * time.Hour) }, "outlives its signer"},
		"unknown critical extension": {func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, "an unknown critical extension, 1.2.3"},
		"serial 0": {func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0) }, "serial number below 1"},
	} {
		chain := []*x509.Certificate{m.sign(t, test.change)}
		refused(t, name, test.want, chain, m.roots())
	}
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

// Keys and digests that are too weak are refused.
func TestCheckRefusesWeakCryptography(t *testing.T) {
	t.Parallel()
	t.Run("RSA-1024", func(t *testing.T) {
		m := newMesh(t, "default")
		weak, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		leaf := m.signKey(t, weak.Public(), func(*x509.Certificate) {})
		refused(t, "leaf", "the leaf has a key that is neither", []*x509.Certificate{leaf}, m.roots())
		root := create(t, caTemplate(), caTemplate(), weak.Public(), weak)
		leaf = create(t, template(), root, m.leaf.Public(), weak)
		refused(t, "root", "the signer \"CN=default\" has a key", []*x509.Certificate{leaf}, []*x509.Certificate{root})
	})
	t.Run("P-224", func(t *testing.T) {
		m := newMesh(t, "default")
		weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := m.signKey(t, weak.Public(), func(*x509.Certificate) {})
		refused(t, "leaf", "the leaf has a key that is neither", []*x509.Certificate{leaf}, m.roots())
	})
	t.Run("Ed25519", func(t *testing.T) {
		m := newMesh(t, "default")
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := m.signKey(t, pub, func(*x509.Certificate) {})
		refused(t, "leaf", "the leaf has a key that is neither", []*x509.Certificate{leaf}, m.roots())
	})
	t.Run("SHA-1", func(t *testing.T) {
		m := newMesh(t, "default")
		leaf := m.sign(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
		refused(t, "leaf", "the leaf is signed with ECDSA-SHA1", []*x509.Certificate{leaf}, m.roots())
	})
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

// A leaf counts for something under the right signers only.
func TestCheckRefusesPath(t *testing.T) {
	t.Parallel()
	m, other := newMesh(t, "default"), newMesh(t, "other")
	good := m.sign(t, func(*x509.Certificate) {})
	same := func(*x509.Certificate) {}
	middle := newKey(t)
	under := create(t, caTemplate(), m.ca.Certificate(), middle.Public(), m.key)
	list := func(c ...*x509.Certificate) []*x509.Certificate { return c }

	refused(t, "empty chain", "the chain is empty", nil, m.roots())
	refused(t, "no roots", "does not lead to a root", list(good), nil)
	refused(t, "CA of another mesh", "does not lead to a root", list(other.sign(t, same)), m.roots())
	refused(t, "another CA of the same name", "does not lead to a root", list(newMesh(t, "default").sign(t, same)), m.roots())
	refused(t, "another mesh's CA as the root", `is the CA of "spiffe://other", not of "spiffe://default"`, list(other.sign(t, same)), other.roots())
	refused(t, "self-signed", "signed by its own key", list(create(t, template(), template(), m.leaf.Public(), m.leaf)), m.roots())
	refused(t, "its own root", "the leaf is its own root", list(good), list(good))
	refused(t, "signed by a leaf", "certificate 2 of the chain is no CA certificate",
		list(create(t, template(), good, middle.Public(), m.leaf), good), m.roots())
	refused(t, "pathLen 0 above an intermediate", "more CAs below \"CN=default,O=Koguma\" than it allows",
		list(create(t, template(), under, m.leaf.Public(), middle), under), m.roots())
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
