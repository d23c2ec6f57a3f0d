package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ParseCA reads the certificate of a CA in PEM, followed by those of the CAs above it up to the root, each signed by the
// next. It refuses a chain that nothing could be signed with now, each fault with its own reason.
func ParseCA(data []byte) ([]*x509.Certificate, error) {
	chain, err := ParseChain(data)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for i, c := range chain {
		if err := checkCA(c, now); err != nil {
			return nil, nth(i, chain, err)
		}
	}
	last := len(chain) - 1
	for i, c := range chain[:last] {
		switch err := signedBy(c, chain[i+1]); {
		case selfSigned(c) && selfSigned(chain[i+1]):
			return nil, nth(i, chain, errors.New("it is a root, and the next one is another; give one root, at the end"))
		case selfSigned(c):
			return nil, nth(i, chain, errors.New("it is a root, and others follow; begin with the issuing CA and end with the root"))
		case err != nil:
			return nil, nth(i, chain, fmt.Errorf("it is not signed by the next one (%w); order them from the issuing CA up to the root", err))
		}
	}
	if !selfSigned(chain[last]) {
		return nil, nth(last, chain, errors.New("it is not a root; add the certificates above it, up to the root"))
	}
	for i, c := range chain {
		if limited := c.MaxPathLen > 0 || c.MaxPathLenZero; limited && c.MaxPathLen < i {
			return nil, nth(i, chain, fmt.Errorf("it allows %d CAs below it (pathLen), and there are %d", c.MaxPathLen, i))
		}
	}
	return chain, nil
}

// ParseRoots reads the certificates of root CAs in PEM. It refuses what nothing could be verified with now.
func ParseRoots(data []byte) ([]*x509.Certificate, error) {
	roots, err := ParseChain(data)
	if err != nil {
		return nil, err
	}
	for i, c := range roots {
		err := checkCA(c, time.Now())
		if err == nil && !selfSigned(c) {
			err = errors.New("it is not a root, but signed by another CA")
		}
		if err != nil {
			return nil, nth(i, roots, err)
		}
	}
	return roots, nil
}

// nth says which certificate an error is about, where there are several.
func nth(i int, of []*x509.Certificate, err error) error {
	if len(of) == 1 {
		return err
	}
	return fmt.Errorf("certificate %d: %w", i+1, err)
}

func signedBy(c, by *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, by.RawSubject) {
		return fmt.Errorf("its issuer is %q, not %q", c.Issuer, by.Subject)
	}
	return c.CheckSignatureFrom(by)
}

func selfSigned(c *x509.Certificate) bool { return signedBy(c, c) == nil }

// WithKey is the CA of a chain, as [ParseCA] reads it, and of its private key in PEM (as PKCS#8, PKCS#1 or SEC 1).
func WithKey(chain []*x509.Certificate, keyPEM []byte) (*CA, error) {
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(chain[0].PublicKey) {
		return nil, errors.New("it is not the key of the CA certificate")
	}
	return &CA{cert: chain[0], above: chain[1:], key: key}, nil
}
