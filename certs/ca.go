// Package certs makes and checks the certificates of a mesh.
//
// A [CA] signs what the control plane says and takes nothing but a public key from whoever asks: identity, lifetime,
// usages and serial are the issuer's choice. [Check] is a second opinion that shares no code with the issuing, so that
// a mistake in one is seen by the other; no certificate leaves [CA.Issue] without having passed it.
//
// Every leaf is an X.509-SVID with one identity, spiffe://<mesh>/<service> ([WorkloadID]). The control plane's own
// certificate is the exception ([CA.IssueServer]): an agent knows it by the pin of its CA ([Pin], [VerifyPinned]).
//
// Private keys stay in memory. No error or log line of this package holds one.
package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Backdate is how far back a certificate begins, for peers whose clocks are behind.
const Backdate = time.Minute

// CA is a certificate authority: its certificate, and its private key in memory. It is safe for concurrent use.
type CA struct {
	cert  *x509.Certificate
	above []*x509.Certificate // who signed it, and so on up to the root; none if it is a root itself
	key   crypto.Signer
}

// CAOptions says what certificate [NewCA] makes.
type CAOptions struct {
	CommonName string
	URI        *url.URL      // spiffe://<mesh> for the CA of a mesh, else nil
	RSABits    int           // 2048 to 8192; 0 is EC P-256
	Life       time.Duration // from now on
}

// NewCA makes a CA with a new key. It signs leaves only, no other CAs.
func NewCA(o CAOptions) (*CA, error) {
	if o.Life <= 0 {
		return nil, fmt.Errorf("a CA cannot live for %v: give a positive duration", o.Life)
	}
	key, err := newCAKey(o.RSABits)
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: o.CommonName, Organization: []string{"Koguma"}},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(o.Life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id,
		AuthorityKeyId:        id,
	}
	if o.URI != nil {
		template.URIs = []*url.URL{o.URI}
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

func newCAKey(rsaBits int) (crypto.Signer, error) {
	switch {
	case rsaBits == 0:
		return NewKey()
	case rsaBits < minRSABits || rsaBits > maxRSABits:
		return nil, fmt.Errorf("an RSA key of %d bits will not do: choose %d to %d", rsaBits, minRSABits, maxRSABits)
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// LoadCA reads a CA from one certificate and its private key, both in PEM (the key as PKCS#8, PKCS#1 or SEC 1). It
// refuses a pair that could not sign now what [Check] would accept, each fault with its own reason.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	certs, err := ParseChain(certPEM)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	if len(certs) > 1 {
		return nil, fmt.Errorf("CA certificate: it holds %d certificates; give the CA's own only", len(certs))
	}
	if err := checkCA(certs[0], time.Now()); err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	ca, err := WithKey(certs, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	return ca, nil
}

func checkCA(c *x509.Certificate, now time.Time) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("it is not a CA certificate (basicConstraints says cA false, or nothing)")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("its key usage lacks keyCertSign, so nothing it signs would be accepted")
	case c.KeyUsage&x509.KeyUsageKeyAgreement != 0:
		return errors.New("its key usage has keyAgreement, which a CA's must not; make one without")
	case !isCritical(c, oidKeyUsage):
		return errors.New("its key usage is not marked critical, as the SPIFFE standard demands")
	case !signsForTLS(c):
		return errors.New("its extended key usage does not allow both TLS servers and clients, so nothing it signs would be accepted")
	case now.After(c.NotAfter):
		return fmt.Errorf("it expired at %s", c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is not valid before %s", c.NotBefore.Format(time.RFC3339))
	case !strongSignature(c.SignatureAlgorithm):
		return fmt.Errorf("it is signed with %v; use SHA-256 or better", c.SignatureAlgorithm)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("it has a critical extension that nobody here knows: %v", c.UnhandledCriticalExtensions[0])
	}
	return checkKey(c.PublicKey)
}

// signsForTLS reports whether a CA may sign certificates for TLS servers and clients, both.
func signsForTLS(c *x509.Certificate) bool {
	has := func(u x509.ExtKeyUsage) bool { return slices.Contains(c.ExtKeyUsage, u) }
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || has(x509.ExtKeyUsageAny) ||
		has(x509.ExtKeyUsageServerAuth) && has(x509.ExtKeyUsageClientAuth)
}

// Certificate is the CA's own certificate. It must not be changed.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Root is the certificate by which those that the CA signs are known: its own, or that of the root above it.
func (ca *CA) Root() *x509.Certificate {
	if n := len(ca.above); n > 0 {
		return ca.above[n-1]
	}
	return ca.cert
}

// CertPEM is the CA's own certificate in PEM.
func (ca *CA) CertPEM() []byte { return EncodeChain([]*x509.Certificate{ca.cert}) }

// KeyPEM is the CA's private key in PEM, as [LoadCA] reads it. It is for the store and nobody else.
func (ca *CA) KeyPEM() ([]byte, error) { return EncodeKey(ca.key) }

// sign makes the certificate and reads it back, so that what is returned is what was signed.
func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
