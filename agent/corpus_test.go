package agent

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
	"koguma/certs/certstest"
	"koguma/xds"
)

// A certificate that is wrong in any way is refused, whether or not there is one already, and the one that there is stays.
// One that comes without roots cannot be checked, and is refused as well.
func TestBadLeavesAreRefused(t *testing.T) {
	t.Parallel()
	own, err := certs.NewCA(certs.CAOptions{CommonName: "default", URI: &url.URL{Scheme: "spiffe", Host: "default"}, Life: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := own.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certstest.ParseCA(own.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity("default")
	if err != nil {
		t.Fatal(err)
	}
	web := spiffeid.RequireFromString("spiffe://default/web")
	roots, good := rootsSecret(own.CertPEM()), leafSecret(certstest.GoodLeaf(t, ca, web, id.keys[0]))
	if _, _, err := id.join([]*tlsv3.Secret{good}, time.Now()); err == nil || !strings.Contains(err.Error(), "no roots") {
		t.Errorf("a certificate that came without roots: %v", err)
	}
	bad := certstest.BadLeaves(t, ca, web, id.keys[0])
	for _, held := range []bool{false, true} {
		if held {
			if _, _, err := id.join([]*tlsv3.Secret{roots, good}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		before := id.svids[good.GetName()]
		for _, l := range bad {
			if l.Name == "other service" || l.Name == "other case of service" {
				continue // what service this proxy is, is for the control plane to say
			}
			joined, renewed, err := id.join([]*tlsv3.Secret{roots, leafSecret(l)}, time.Now())
			if err == nil || joined != nil || renewed || id.svids[good.GetName()] != before {
				t.Errorf("%s: taken over, with one before: %v", l.Name, held)
			}
		}
	}
}

func leafSecret(l certstest.Leaf) *tlsv3.Secret {
	var chain []*x509.Certificate
	for _, der := range l.Chain {
		chain = append(chain, &x509.Certificate{Raw: der})
	}
	return &tlsv3.Secret{
		Name: xds.IdentitySecretName("default", "web", true),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inline(certstest.EncodePEM(chain))}},
	}
}

func rootsSecret(pem []byte) *tlsv3.Secret {
	return &tlsv3.Secret{
		Name: xds.CASecretName("default"),
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(pem)}},
	}
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}
