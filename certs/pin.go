package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
)

// Pin names the key of a certificate: "sha256:" and the base64url of the SHA-256 of its SubjectPublicKeyInfo, without
// padding. A CA that is renewed with the same key keeps its pin.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// VerifyPinned makes a VerifyConnection function for a [tls.Config] whose InsecureSkipVerify is true, because the CA is
// known by its pin and sent by the server itself. The function demands that the chain has a CA certificate with that
// pin, and that the leaf verifies under it, now, as a server named [ServerName]. It is asked for resumed sessions too.
func VerifyPinned(pin string) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error { return verifyServer(s.PeerCertificates, pin) }
}

// OtherCA says that a server has no certificate of the CA with the pin: it is another control plane than the one that the
// token is from.
type OtherCA struct{ Pin string }

// Error implements error.
func (e *OtherCA) Error() string {
	return fmt.Sprintf("the control plane's CA is not the one the token was issued under (pin %s): use a token of this control plane, or --ca-cert-file", e.Pin)
}

func verifyServer(chain []*x509.Certificate, pin string) error {
	if len(chain) == 0 {
		return errors.New("the control plane sent no certificate")
	}
	if chain[0].IsCA {
		return errors.New("the control plane sent a CA certificate as its own")
	}
	roots, others, pinned := x509.NewCertPool(), x509.NewCertPool(), false
	for _, c := range chain[1:] {
		if c.IsCA && Pin(c) == pin {
			roots.AddCert(c)
			pinned = true
		} else {
			others.AddCert(c)
		}
	}
	if !pinned {
		return &OtherCA{pin}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName:       ServerName,
		Roots:         roots,
		Intermediates: others,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the control plane's certificate: %w", err)
	}
	return nil
}
