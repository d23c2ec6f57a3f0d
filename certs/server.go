package certs

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ServerName is always among the DNS names of a control plane's certificate: an agent that has a pin checks that it
// speaks with the control plane, not at which address.
const ServerName = "kuma-cp"

// IssueServer signs the control plane's own TLS certificate for hosts, which are DNS names and IP addresses;
// [ServerName] is added to them. The chain includes the CA's certificate, for those who know its pin only.
func (ca *CA) IssueServer(key crypto.PublicKey, hosts []string, life time.Duration) ([]*x509.Certificate, error) {
	template, err := ca.leafTemplate(key, life, time.Time{}, time.Now())
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{ServerName}
	for _, h := range hosts {
		h = strings.ToLower(h)
		switch ip, err := netip.ParseAddr(h); {
		case err == nil && ip.Zone() == "":
			template.IPAddresses = append(template.IPAddresses, ip.Unmap().AsSlice())
		case !isDNSName(h):
			return nil, fmt.Errorf("server certificate: %q is neither a DNS name nor an IP address", h)
		case !slices.Contains(template.DNSNames, h):
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	leaf, err := sign(template, ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	chain := []*x509.Certificate{leaf, ca.cert}
	if err := verifyServer(chain, Pin(ca.cert)); err != nil {
		return nil, fmt.Errorf("server certificate: signed, but an agent would refuse it: %w", err)
	}
	return chain, nil
}
