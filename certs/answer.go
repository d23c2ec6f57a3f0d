package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// End is when a certificate ends that is made now, as far as the request says.
func (r Request) End(now time.Time) time.Time {
	end := now.Add(r.Life)
	if !r.NotAfter.IsZero() && r.NotAfter.Before(end) {
		return r.NotAfter
	}
	return end
}

// CheckAnswer reports why a chain from a CA elsewhere is not what it was asked for by r at the time asked; nil if it is. It
// has to pass [Check] now, be for the key, have the names and no others, and not live longer. A shorter life is up to the CA.
func CheckAnswer(chain, roots []*x509.Certificate, r Request, asked, now time.Time) error {
	if err := Check(chain, roots, r.ID, now); err != nil {
		return err
	}
	leaf := chain[0]
	key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(r.Key) {
		return errors.New("the leaf is for another key than the one asked for")
	}
	if err := checkOnlyNames(leaf, r.DNS); err != nil {
		return fmt.Errorf("the leaf %w", err)
	}
	if end := r.End(asked); leaf.NotAfter.After(end) {
		return fmt.Errorf("the leaf ends at %s, later than asked for, %s", leaf.NotAfter.Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkOnlyNames finds names beside the one URI, which [Check] has seen: the DNS names have to be these, and there may be no
// others of any kind.
func checkOnlyNames(c *x509.Certificate, dns []string) error {
	has, want := slices.Clone(c.DNSNames), slices.Clone(dns)
	slices.Sort(has)
	slices.Sort(want)
	if !slices.Equal(has, want) {
		return fmt.Errorf("has the DNS names %q, not %q", has, want)
	}
	for _, e := range c.Extensions {
		var names []asn1.RawValue
		if !e.Id.Equal(oidAltNames) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return errors.New("has alternative names that cannot be read")
		}
		if len(names) != 1+len(dns) {
			return fmt.Errorf("has %d names, more than the %d asked for", len(names), 1+len(dns))
		}
	}
	return nil
}
