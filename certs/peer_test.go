package certs_test

import (
	"crypto/x509"
	"net"
	"net/url"
	"testing"
	"time"

	"koguma/certs"
)

// A certificate is one of a control plane if the CA has signed it for that, and as nothing else.
func TestCheckPeer(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "default")
	ca, other := m.ca, newMesh(t, "default").ca
	key := newKey(t)
	chain, err := ca.IssuePeer(key.Public(), "one", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := certs.CheckPeer(chain, ca.Certificate(), time.Now()); got != "one" || err != nil {
		t.Errorf("its own is that of %q, %v", got, err)
	}
	server, err := ca.IssueServer(key.Public(), nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*x509.Certificate)) []*x509.Certificate {
		leaf := *chain[0]
		change(&leaf)
		return []*x509.Certificate{create(t, &leaf, ca.Certificate(), key.Public(), m.key)}
	}
	name := func(s string) *url.URL { return &url.URL{Scheme: "spiffe", Host: "koguma-cp", Path: s} }
	if _, err := certs.CheckPeer(changed(func(*x509.Certificate) {}), ca.Certificate(), time.Now()); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	for what, c := range map[string]struct {
		chain []*x509.Certificate
		ca    *certs.CA
		at    time.Duration
	}{
		"none":            {nil, ca, 0},
		"of another CA":   {chain, other, 0},
		"ended":           {chain, ca, 2 * time.Hour},
		"not yet valid":   {chain, ca, -2 * time.Hour},
		"that of the CA":  {chain[1:], ca, 0},
		"of a server":     {server, ca, 0},
		"with a DNS name": {changed(func(c *x509.Certificate) { c.DNSNames = []string{certs.ServerName} }), ca, 0},
		"with an address": {changed(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{127, 0, 0, 1}} }), ca, 0},
		"with two names":  {changed(func(c *x509.Certificate) { c.URIs = append(c.URIs, name("/instance/two")) }), ca, 0},
		"of a workload":   {changed(func(c *x509.Certificate) { c.URIs = []*url.URL{name("/web")} }), ca, 0},
		"of nobody":       {changed(func(c *x509.Certificate) { c.URIs = []*url.URL{name("/instance/")} }), ca, 0},
		"for servers":     {changed(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), ca, 0},
		"for clients":     {changed(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), ca, 0},
	} {
		if got, err := certs.CheckPeer(c.chain, c.ca.Certificate(), time.Now().Add(c.at)); err == nil {
			t.Errorf("one %s is taken for that of %q", what, got)
		}
	}
}
