package certs

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// peerPrefix begins the one name in the certificates by which control planes know each other; the instance id follows. No
// proxy has a name of two parts, whatever its mesh is called, and no server has any.
const peerPrefix = "spiffe://koguma-cp/instance/"

// IssuePeer signs the certificate by which a control plane is known to the others that share the CA, at either end.
func (ca *CA) IssuePeer(key crypto.PublicKey, instance string, life time.Duration) ([]*x509.Certificate, error) {
	chain, err := ca.issuePeer(key, instance, life)
	if err != nil {
		return nil, fmt.Errorf("certificate of control plane %q: %w", instance, err)
	}
	return chain, nil
}

func (ca *CA) issuePeer(key crypto.PublicKey, instance string, life time.Duration) ([]*x509.Certificate, error) {
	name, err := url.Parse(peerPrefix + instance)
	if err != nil {
		return nil, err
	}
	template, err := ca.leafTemplate(key, life, time.Time{}, time.Now())
	if err != nil {
		return nil, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.URIs = []*url.URL{name}
	leaf, err := sign(template, ca.cert, key, ca.key)
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{leaf, ca.cert}
	if got, err := CheckPeer(chain, ca.cert, time.Now()); err != nil || got != instance {
		return nil, fmt.Errorf("signed, but the others would refuse it: it names %q, %v", got, err)
	}
	return chain, nil
}

// CheckPeer is the instance id of the control plane that a chain is the certificate of. Whatever the CA has signed for
// somebody else is an error.
func CheckPeer(chain []*x509.Certificate, ca *x509.Certificate, now time.Time) (instance string, err error) {
	if len(chain) == 0 {
		return "", errors.New("no certificate was shown")
	}
	leaf, roots := chain[0], x509.NewCertPool()
	roots.AddCert(ca)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			return "", fmt.Errorf("the certificate: %w", err)
		}
	}
	uris, err := uriNames(leaf)
	if err != nil {
		return "", err
	}
	if leaf.IsCA || len(uris) != 1 || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 {
		return "", errors.New("the certificate is not that of a control plane")
	}
	instance, ok := strings.CutPrefix(uris[0], peerPrefix)
	if !ok || instance == "" {
		return "", fmt.Errorf("the certificate is that of %q, which is no control plane", uris[0])
	}
	return instance, nil
}
