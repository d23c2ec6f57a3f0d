package testenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ServerChain is the certificate chain that the server at addr presents in a TLS handshake, the leaf first. Nothing of
// it is verified. The client has no certificate of its own: that a server wants one is no error here.
func ServerChain(ctx context.Context, addr, serverName string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	d := tls.Dialer{Config: &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true, // to look at it, not to trust it
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return nil
		},
	}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		c.Close()
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("TLS handshake with %s: no certificate was presented: %w", addr, errors.Join(err))
	}
	return chain, nil
}
