package certs_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"koguma/certs"
)

var _ certs.Issuer = (*certs.CA)(nil)

// A leaf has the form that the house rules give it, whichever key signs.
func TestIssuedLeaf(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{0, 2048} {
		ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", URI: parse("spiffe://default"), RSABits: bits, Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		key := newKey(t)
		chain := issue(t, ca, certs.Request{Key: key.Public(), ID: web, DNS: []string{"version-1.tag", "a_b"}, Life: time.Minute})
		if len(chain) != 1 {
			t.Fatalf("chain of %d certificates, want the leaf alone", len(chain))
		}
		checkForm(t, chain[0], ca.Certificate())
		if !key.PublicKey.Equal(chain[0].PublicKey) {
			t.Error("another key")
		}
		if diff := cmp.Diff([]string{"version-1.tag", "a_b"}, chain[0].DNSNames); diff != "" {
			t.Errorf("DNS names (-want +got):\n%s", diff)
		}
		judge(t, chain, ca)
	}
}

func checkForm(t *testing.T, c, ca *x509.Certificate) {
	t.Helper()
	switch {
	case len(c.Subject.Names) != 0:
		t.Errorf("subject %q, want none", c.Subject)
	case len(c.URIs) != 1 || c.URIs[0].String() != web.String():
		t.Errorf("URIs %v", c.URIs)
	case c.KeyUsage != x509.KeyUsageDigitalSignature:
		t.Errorf("key usage %b", c.KeyUsage)
	case c.IsCA || !c.BasicConstraintsValid:
		t.Error("basicConstraints must be there and say cA false")
	case c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() < 64:
		t.Errorf("serial %x", c.SerialNumber)
	case len(c.SubjectKeyId) == 0 || string(c.AuthorityKeyId) != string(ca.SubjectKeyId):
		t.Errorf("key ids %x, %x; the CA's is %x", c.SubjectKeyId, c.AuthorityKeyId, ca.SubjectKeyId)
	case c.SignatureAlgorithm != x509.ECDSAWithSHA256 && c.SignatureAlgorithm != x509.SHA256WithRSA:
		t.Errorf("signed with %v", c.SignatureAlgorithm)
	}
	want := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if diff := cmp.Diff(want, c.ExtKeyUsage); diff != "" {
		t.Errorf("extended key usage (-want +got):\n%s", diff)
	}
	critical := map[string]bool{}
	for _, e := range c.Extensions {
		critical[e.Id.String()] = e.Critical
	}
	for id, name := range map[string]string{"2.5.29.15": "key usage", "2.5.29.17": "alternative names", "2.5.29.19": "basic constraints"} {
		if !critical[id] {
			t.Errorf("%s not critical", name)
		}
	}
}

// judge asks go-spiffe, which knows nothing of us.
func judge(t *testing.T, chain []*x509.Certificate, ca *certs.CA) {
	t.Helper()
	bundle := x509bundle.FromX509Authorities(web.TrustDomain(), []*x509.Certificate{ca.Certificate()})
	id, _, err := x509svid.Verify(chain, bundle)
	if err != nil || id != web {
		t.Errorf("go-spiffe: %v, %v", id, err)
	}
}

// A leaf ends with the first of its life, its bound and its CA.
func TestIssuedLeafLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, "default") // a day
		now := time.Now()
		for _, test := range []struct {
			life, bound, want time.Duration
		}{
			{life: time.Hour, want: time.Hour},
			{life: time.Hour, bound: 2 * time.Hour, want: time.Hour},
			{life: time.Hour, bound: time.Minute, want: time.Minute},
			{life: 48 * time.Hour, want: 24 * time.Hour},
			{life: 48 * time.Hour, bound: 72 * time.Hour, want: 24 * time.Hour},
		} {
			r := certs.Request{Key: m.leaf.Public(), ID: web, Life: test.life}
			if test.bound != 0 {
				r.NotAfter = now.Add(test.bound)
			}
			leaf := issue(t, m.ca, r)[0]
			if got := leaf.NotAfter.Sub(now); got != test.want {
				t.Errorf("life %v, bound %v: lives for %v, want %v", test.life, test.bound, got, test.want)
			}
			if got := now.Sub(leaf.NotBefore); got != time.Minute {
				t.Errorf("begins %v ago, want a minute", got)
			}
		}
		time.Sleep(25 * time.Hour)
		if _, err := m.ca.Issue(t.Context(), certs.Request{Key: m.leaf.Public(), ID: web, Life: time.Hour}); err == nil {
			t.Error("a CA that has ended still issues")
		}
	})
}

// What must not be signed is not.
func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	good := certs.Request{Key: m.leaf.Public(), ID: web, Life: time.Hour}
	for name, test := range map[string]struct {
		change func(*certs.Request)
		want   string
	}{
		"no key":             {func(r *certs.Request) { r.Key = nil }, "neither ECDSA nor RSA"},
		"weak key":           {func(r *certs.Request) { r.Key = &rsa.PublicKey{N: big.NewInt(35), E: 3} }, "6 bits"},
		"no identity":        {func(r *certs.Request) { r.ID = spiffeid.ID{} }, "names no service"},
		"a mesh's identity":  {func(r *certs.Request) { r.ID = web.TrustDomain().ID() }, "names no service"},
		"another mesh's":     {func(r *certs.Request) { r.ID = spiffeid.RequireFromString("spiffe://other/web") }, `"spiffe://default", not of "spiffe://other"`},
		"no life":            {func(r *certs.Request) { r.Life = 0 }, "cannot live for 0s"},
		"negative life":      {func(r *certs.Request) { r.Life = -time.Hour }, "cannot live for -1h0m0s"},
		"bound in the past":  {func(r *certs.Request) { r.NotAfter = time.Now().Add(-time.Second) }, "would have ended already"},
		"empty DNS name":     {func(r *certs.Request) { r.DNS = []string{""} }, `"" is no DNS name`},
		"wildcard":           {func(r *certs.Request) { r.DNS = []string{"*.tag"} }, `"*.tag" is no DNS name`},
		"upper-case DNS":     {func(r *certs.Request) { r.DNS = []string{"A"} }, "is no DNS name"},
		"long DNS label":     {func(r *certs.Request) { r.DNS = []string{strings.Repeat("a", 64)} }, "is no DNS name"},
		"long DNS name":      {func(r *certs.Request) { r.DNS = []string{strings.Repeat("a.", 127) + "a"} }, "is no DNS name"},
		"NUL in a DNS name":  {func(r *certs.Request) { r.DNS = []string{"a\x00b"} }, "is no DNS name"},
		"hyphen at the edge": {func(r *certs.Request) { r.DNS = []string{"a-.b"} }, "is no DNS name"},
	} {
		r := good
		test.change(&r)
		chain, err := m.ca.Issue(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), test.want) || chain != nil {
			t.Errorf("%s: got %v, %v; want an error with %q", name, chain, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.ca.Issue(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
}

// From the bytes of a request to a leaf that has been checked, as for every renewal.
func BenchmarkIssueFromCSR(b *testing.B) {
	m := newMesh(b, "default")
	csr, err := certs.NewCSR(newKey(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		key, err := certs.ParseCSR(csr)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.ca.Issue(b.Context(), certs.Request{Key: key, ID: web, Life: time.Hour}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certs/s")
}
