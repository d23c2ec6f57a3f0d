package xds

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/policy"
)

// Identity is a certificate in a set of secrets.
type Identity struct {
	Secret string // its name
	Chain  []*x509.Certificate
	KeyPEM []byte // nil where the secret has no key: on its way from the control plane to an agent
}

// Trust is whom the proxy that has a set of secrets trusts.
type Trust struct {
	Roots []*x509.Certificate
	CRL   []byte // in PEM; nil if there is none
}

// ReadSecrets reads back what is in a set of secrets of a mesh: the certificates, that of the first service before
// the others, and whom the proxy trusts. What cannot be read is left out.
func ReadSecrets(mesh string, set *Set) ([]Identity, Trust) {
	var all []Identity
	var trust Trust
	for _, r := range set.All() {
		var s tlsv3.Secret
		if proto.Unmarshal(r.Body, &s) != nil {
			continue
		}
		if c := s.GetValidationContext(); c != nil && r.Name == CASecretName(mesh) {
			trust.Roots, _ = certs.ParseChain(c.GetTrustedCa().GetInlineBytes())
			trust.CRL = c.GetCrl().GetInlineBytes()
		}
		c := s.GetTlsCertificate()
		if c == nil {
			continue
		}
		if chain, err := certs.ParseChain(c.GetCertificateChain().GetInlineBytes()); err == nil {
			all = append(all, Identity{Secret: r.Name, Chain: chain, KeyPEM: c.GetPrivateKey().GetInlineBytes()})
		}
	}
	return all, trust
}

// SPIFFEID is the identity that the certificate is for, "" if there is none.
func (i *Identity) SPIFFEID() string {
	if len(i.Chain[0].URIs) == 0 {
		return ""
	}
	return i.Chain[0].URIs[0].String()
}

// Service is the service that the identity is of.
func (i *Identity) Service() string {
	id := i.SPIFFEID()
	return id[strings.LastIndexByte(id, '/')+1:]
}

// Describe tells of the certificates and roots in two sets of secrets: that which the proxy has taken, and the newest,
// which may be the same. A certificate without a key in the set has that of an agent.
func Describe(mesh string, taken, newest *Set) ([]policy.IdentityCertificate, []policy.TrustedRoot) {
	certificates, roots := describe(mesh, taken, true)
	if taken.Version() == newest.Version() {
		return certificates, roots
	}
	offered, offeredRoots := describe(mesh, newest, false)
	for _, c := range offered {
		if !slices.ContainsFunc(certificates, func(o policy.IdentityCertificate) bool { return o.Serial == c.Serial && o.Issuer == c.Issuer }) {
			certificates = append(certificates, c)
		}
	}
	for _, r := range offeredRoots {
		if !slices.ContainsFunc(roots, func(o policy.TrustedRoot) bool { return o.Fingerprint == r.Fingerprint }) {
			roots = append(roots, r)
		}
	}
	return certificates, roots
}

func describe(mesh string, set *Set, acked bool) ([]policy.IdentityCertificate, []policy.TrustedRoot) {
	identities, trust := ReadSecrets(mesh, set)
	certificates, roots := []policy.IdentityCertificate{}, []policy.TrustedRoot{}
	for _, i := range identities {
		leaf, origin := i.Chain[0], policy.KeyOfAgent
		if i.KeyPEM != nil {
			origin = policy.KeyOfControlPlane
		}
		certificates = append(certificates, policy.IdentityCertificate{
			Service: i.Service(), SPIFFEID: i.SPIFFEID(), DNSNames: leaf.DNSNames, Serial: certs.Serial(leaf),
			Issuer: issuerOf(i.Chain, trust.Roots), NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
			KeyOrigin: origin, Acked: acked,
		})
	}
	for _, r := range trust.Roots {
		roots = append(roots, policy.TrustedRoot{
			Subject: r.Subject.String(), Fingerprint: certs.Fingerprint(r), NotAfter: r.NotAfter.UTC(), Acked: acked,
		})
	}
	return certificates, roots
}

// issuerOf is who signed the first certificate of a chain: the next one, or one of the roots.
func issuerOf(chain, roots []*x509.Certificate) policy.Issuer {
	leaf := chain[0]
	issuer := policy.Issuer{Subject: leaf.Issuer.String()}
	for _, list := range [][]*x509.Certificate{chain[1:], roots} {
		for _, c := range list {
			if bytes.Equal(c.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(c) == nil {
				issuer.Fingerprint = certs.Fingerprint(c)
				return issuer
			}
		}
	}
	return issuer
}
