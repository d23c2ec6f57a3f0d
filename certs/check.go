package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Check reports why a chain, leaf first, is not what a peer should accept as the X.509-SVID of want at the time now,
// given the roots of want's trust domain and of no other; nil if it is.
//
// It holds to the SPIFFE standard where that says "should", too: usages for both client and server and for nothing
// else, an identity of at most 2048 bytes, signing certificates whose identity, if any, is their trust domain.
func Check(chain, roots []*x509.Certificate, want spiffeid.ID, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the chain is empty")
	}
	leaf := chain[0]
	for _, check := range []func(*x509.Certificate) error{checkLeafForm, checkLeafUsage, checkPublicKey, checkDigest} {
		if err := check(leaf); err != nil {
			return fmt.Errorf("the leaf %w", err)
		}
	}
	if err := checkTime(leaf, now); err != nil {
		return fmt.Errorf("the leaf %w", err)
	}
	if err := checkIdentity(leaf, want); err != nil {
		return fmt.Errorf("the leaf %w", err)
	}
	for i, c := range chain[1:] {
		if err := checkSigner(c, want.TrustDomain(), now); err != nil {
			return fmt.Errorf("certificate %d of the chain %w", i+2, err)
		}
		if err := checkDigest(c); err != nil {
			return fmt.Errorf("certificate %d of the chain %w", i+2, err)
		}
	}
	return checkPath(chain, roots, want.TrustDomain(), now)
}

func checkLeafForm(c *x509.Certificate) error {
	switch {
	case c.Version != 3:
		return errors.New("is not of X.509 version 3")
	case c.SerialNumber.Sign() <= 0:
		return errors.New("has a serial number below 1")
	case c.IsCA:
		return errors.New("is a CA certificate, which never identifies a workload")
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("has an unknown critical extension, %v", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

func checkLeafUsage(c *x509.Certificate) error {
	switch {
	case c.KeyUsage == 0:
		return errors.New("has no key usage")
	case !isCritical(c, oidKeyUsage):
		return errors.New("has a key usage that is not critical")
	case c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("may sign certificates or CRLs")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("may not make digital signatures")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return errors.New("is not meant for servers (no serverAuth)")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return errors.New("is not meant for clients (no clientAuth)")
	case len(c.ExtKeyUsage) > 2 || len(c.UnknownExtKeyUsage) > 0:
		return errors.New("is meant for more than TLS servers and clients")
	}
	return nil
}

func checkTime(c *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf("is not valid before %s", c.NotBefore.Format(time.RFC3339))
	case now.After(c.NotAfter):
		return fmt.Errorf("expired at %s", c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func checkPublicKey(c *x509.Certificate) error {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return nil
		}
	}
	return errors.New("has a key that is neither EC P-256 or P-384 nor RSA of 2048 bits or more")
}

func checkDigest(c *x509.Certificate) error {
	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return nil
	}
	return fmt.Errorf("is signed with %v", c.SignatureAlgorithm)
}

// checkIdentity reads the names from the DER: net/url, through which crypto/x509 shows them, lets an upper-case scheme
// and an empty fragment pass as if they were not there.
func checkIdentity(c *x509.Certificate, want spiffeid.ID) error {
	names, err := uriNames(c)
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return errors.New("has no URI name")
	case len(names) > 1:
		return fmt.Errorf("has %d URI names; an X.509-SVID has one", len(names))
	case len(c.Subject.Names) == 0 && !isCritical(c, oidAltNames):
		return errors.New("has neither a subject nor critical alternative names")
	case len(names[0]) > 2048:
		return fmt.Errorf("has a URI name of %d bytes, more than 2048", len(names[0]))
	}
	id, err := spiffeid.FromString(names[0])
	switch {
	case err != nil:
		return fmt.Errorf("has the URI name %q, which is no SPIFFE ID: %w", names[0], err)
	case len(id.TrustDomain().Name()) > 255:
		return errors.New("has a trust domain of more than 255 bytes")
	case id.Path() == "":
		return fmt.Errorf("has the identity of a whole trust domain, %q", id)
	case id.TrustDomain() != want.TrustDomain():
		return fmt.Errorf("is of trust domain %q, not %q", id.TrustDomain(), want.TrustDomain())
	case id != want:
		return fmt.Errorf("is that of %q, not of %q", id, want)
	}
	return nil
}

// checkSigner judges a certificate above the leaf.
func checkSigner(c *x509.Certificate, domain spiffeid.TrustDomain, now time.Time) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("is no CA certificate, so it cannot sign")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("may not sign certificates (no keyCertSign)")
	case !isCritical(c, oidKeyUsage):
		return errors.New("has a key usage that is not critical")
	}
	if err := checkTime(c, now); err != nil {
		return err
	}
	if err := checkPublicKey(c); err != nil {
		return err
	}
	names, err := uriNames(c)
	switch {
	case err != nil:
		return err
	case len(names) > 1:
		return fmt.Errorf("has %d URI names", len(names))
	case len(names) == 1 && names[0] != domain.IDString():
		return fmt.Errorf("is the CA of %q, not of %q", names[0], domain.IDString())
	}
	return nil
}

// checkPath looks for a way from the leaf to a root on which every certificate may stand where it stands.
func checkPath(chain, roots []*x509.Certificate, domain spiffeid.TrustDomain, now time.Time) error {
	leaf := chain[0]
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // a CA may restrict; checkLeafUsage has seen the leaf's
		CurrentTime:   now,
	}
	for _, c := range roots {
		opts.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	paths, err := leaf.Verify(opts)
	if err != nil {
		return explain(leaf, err)
	}
	for _, path := range paths {
		if err = checkSigners(path, domain, now); err == nil {
			return nil
		}
	}
	return err
}

func checkSigners(path []*x509.Certificate, domain spiffeid.TrustDomain, now time.Time) error {
	if len(path) < 2 {
		return errors.New("the leaf is its own root")
	}
	for _, c := range path[1:] {
		if err := checkSigner(c, domain, now); err != nil {
			return fmt.Errorf("the signer %q %w", c.Subject, err)
		}
		if path[0].NotAfter.After(c.NotAfter) {
			return fmt.Errorf("the leaf outlives its signer %q", c.Subject)
		}
	}
	return nil
}

// explain gives the plain reason for the errors of crypto/x509 that do not say it.
func explain(leaf *x509.Certificate, err error) error {
	var invalid x509.CertificateInvalidError
	switch {
	case leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil:
		return errors.New("the leaf is signed by its own key")
	case errors.As(err, &invalid) && invalid.Reason == x509.TooManyIntermediates:
		return fmt.Errorf("there are more CAs below %q than it allows (pathLen)", invalid.Cert.Subject)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return errors.New("the chain does not lead to a root of this trust domain")
	}
	return fmt.Errorf("the chain does not hold: %w", err)
}

var (
	oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidAltNames = asn1.ObjectIdentifier{2, 5, 29, 17}
)

func isCritical(c *x509.Certificate, id asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Critical && e.Id.Equal(id) })
}

// uriNames are the URIs among the subject's alternative names, byte by byte.
func uriNames(c *x509.Certificate) ([]string, error) {
	var uris []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidAltNames) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("has alternative names that cannot be read")
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	return uris, nil
}
