package cp

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"koguma/certs"
	"koguma/policy"
)

// serverLife is how long a certificate of the control plane itself lives. It is made anew at two thirds of that.
const serverLife = 30 * 24 * time.Hour

// serverCert is the certificate that the control plane shows to its proxies: the pair from its configuration, or one
// from the CA that all control planes of a store share.
type serverCert struct {
	ca *certs.CA // nil if the pair is given
	ownCert
}

// ownCert is a certificate that the control plane makes for itself, and makes anew at two thirds of its life. Its key
// stays in memory.
type ownCert struct {
	issue func(crypto.PublicKey) ([]*x509.Certificate, error) // nil if current was given, and stays

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

// newServerCert reads the pair from the files, or has the CA issue one if there are none.
func newServerCert(ca *certs.CA, certFile, keyFile, advertised string) (*serverCert, error) {
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("the certificate of the DP server: %w", err)
		}
		return &serverCert{ownCert: ownCert{current: &pair}}, nil
	}
	hosts := ownNames(advertised)
	c := &serverCert{ca: ca, ownCert: ownCert{issue: func(key crypto.PublicKey) ([]*x509.Certificate, error) {
		return ca.IssueServer(key, hosts, serverLife)
	}}}
	_, err := c.get(nil)
	return c, err
}

// pin is what tokens tell agents of the control plane's CA, "" where the pair was given and proves itself otherwise.
func (c *serverCert) pin() string {
	if c.ca == nil {
		return ""
	}
	return certs.Pin(c.ca.Certificate())
}

// root is the certificate that an Envoy without an agent verifies the control plane with, and the name to expect.
func (c *serverCert) root() (pem []byte, name string, err error) {
	if c.ca != nil {
		return c.ca.CertPEM(), certs.ServerName, nil
	}
	chain := c.current.Certificate
	root, err := x509.ParseCertificate(chain[len(chain)-1])
	if err != nil {
		return nil, "", err
	}
	if len(c.current.Leaf.DNSNames) == 0 {
		return nil, "", errors.New("the certificate of the DP server has no DNS name")
	}
	return certs.EncodeChain([]*x509.Certificate{root}), c.current.Leaf.DNSNames[0], nil
}

// get is the certificate to show now.
func (c *ownCert) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.issue == nil || c.current != nil && now.Before(c.renewAt) {
		return c.current, nil
	}
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	chain, err := c.issue(key.Public())
	if err != nil {
		return nil, err // which says whose certificate it is
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, cert := range chain {
		pair.Certificate = append(pair.Certificate, cert.Raw)
	}
	c.current, c.renewAt = pair, now.Add(chain[0].NotAfter.Sub(now)*2/3)
	return pair, nil
}

// certifiable reports whether a certificate can have the name of a machine, which may be any text.
func certifiable(host string) bool {
	return len(host) < 64 && policy.ValidName(strings.ToLower(host)) == nil
}

// ownNames is every name and address by which this machine might be dialled.
func ownNames(advertised string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if advertised != "" {
		names = append(names, advertised)
	}
	if host, err := os.Hostname(); err == nil && certifiable(host) {
		names = append(names, host)
	}
	addrs, _ := net.InterfaceAddrs() // without them the name that the token pins still holds
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() {
			names = append(names, ip.IP.String())
		}
	}
	return names
}
