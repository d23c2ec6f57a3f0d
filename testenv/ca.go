package testenv

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"time"

	"koguma/certs"
)

// CA is a certificate authority that an operator brings along.
type CA struct {
	Chain []*x509.Certificate // its own certificate, and those above it up to the root
	Key   *ecdsa.PrivateKey
}

// NewCA makes a CA that is good for a day, below another one, or a root for nil.
func NewCA(name string, by *CA) (*CA, error) {
	return newCA(by, &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	})
}

// NewHost is a pair below a CA for a host, or a client, of that name, and for the address where it is one.
func NewHost(name string, by *CA) (*CA, error) {
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{name},
	}
	if ip := net.ParseIP(name); ip != nil {
		c.DNSNames, c.IPAddresses = nil, []net.IP{ip}
	}
	return newCA(by, c)
}

func newCA(by *CA, c *x509.Certificate) (*CA, error) {
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := c, key
	var above []*x509.Certificate
	if by != nil {
		parent, signer, above = by.Chain[0], by.Key, by.Chain
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{Chain: slices.Concat([]*x509.Certificate{cert}, above), Key: key}, nil
}

// Roots are what those that the CA signs are verified with.
func (c *CA) Roots() []*x509.Certificate { return c.Chain[len(c.Chain)-1:] }

// CertPEM is the chain up to the root.
func (c *CA) CertPEM() string { return string(certs.EncodeChain(c.Chain)) }

// RootPEM is the root alone.
func (c *CA) RootPEM() string { return string(certs.EncodeChain(c.Roots())) }

// KeyPEM is the private key.
func (c *CA) KeyPEM() (string, error) {
	key, err := certs.EncodeKey(c.Key)
	return string(key), err
}
