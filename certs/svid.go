package certs

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Request is what goes into a workload's certificate. Nothing of it but Key may come from the workload.
type Request struct {
	Key      crypto.PublicKey
	CSR      []byte // in DER, by Key, for CAs that are asked with one; nothing of it counts but that
	ID       spiffeid.ID
	DNS      []string      // further names: lower-case letters, digits, '-' and '_' in labels joined by dots
	Life     time.Duration // from now on
	NotAfter time.Time     // an end that Life does not pass; zero: no such bound
}

// Issuer signs certificates for workloads. The result begins with the leaf and ends before the root; it has passed
// [Check].
type Issuer interface {
	Issue(ctx context.Context, r Request) ([]*x509.Certificate, error)
}

// Issue implements [Issuer]. The certificate begins a minute ago and ends with Life, with r.NotAfter, or with the first
// of the CA and those above it.
func (ca *CA) Issue(ctx context.Context, r Request) ([]*x509.Certificate, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	leaf, err := ca.issueLeaf(r, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", r.ID, err)
	}
	chain := []*x509.Certificate{leaf}
	if n := len(ca.above); n > 0 {
		chain = append(append(chain, ca.cert), ca.above[:n-1]...)
	}
	if err := Check(chain, []*x509.Certificate{ca.Root()}, r.ID, now); err != nil {
		return nil, fmt.Errorf("certificate for %s: signed, but it does not pass the check: %w", r.ID, err)
	}
	return chain, nil
}

func (ca *CA) issueLeaf(r Request, now time.Time) (*x509.Certificate, error) {
	if r.ID.IsZero() || r.ID.Path() == "" {
		return nil, errors.New("the identity names no service")
	}
	for _, name := range r.DNS {
		if !isDNSName(name) {
			return nil, fmt.Errorf("%q is no DNS name", name)
		}
	}
	template, err := ca.leafTemplate(r.Key, r.Life, r.NotAfter, now)
	if err != nil {
		return nil, err
	}
	template.URIs = []*url.URL{r.ID.URL()}
	template.DNSNames = r.DNS
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return sign(template, ca.cert, r.Key, ca.key)
}

// leafTemplate is what all leaves have. The subject is empty, which makes crypto/x509 mark the names critical.
func (ca *CA) leafTemplate(key crypto.PublicKey, life time.Duration, bound, now time.Time) (*x509.Certificate, error) {
	if life <= 0 {
		return nil, fmt.Errorf("it cannot live for %v: give a positive duration", life)
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	end := now.Add(life)
	if !bound.IsZero() && bound.Before(end) {
		end = bound
	}
	for _, c := range append([]*x509.Certificate{ca.cert}, ca.above...) {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	if !now.Before(end) {
		return nil, fmt.Errorf("it would have ended already, at %s", end.Format(time.RFC3339))
	}
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-Backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
	}, nil
}

func isDNSName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
