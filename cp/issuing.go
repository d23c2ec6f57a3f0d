package cp

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/authority"
	"koguma/certs"
	"koguma/cp/ledger"
)

// briefly is how long a stream waits for a CA elsewhere: from one that is quick, a proxy gets all in one go. The CA that we
// hold is always quick, but for a machine that is busy with many proxies at once: each is better off with one go then, too.
const (
	briefly   = 50 * time.Millisecond
	patiently = time.Second
)

// mostIssue is how long a CA may take for one certificate where its backend does not say.
const mostIssue = 10 * time.Second

// order is a certificate that a proxy should have.
type order struct {
	name    string // of the secret
	service string
	names   string // DNS names, sorted, with a blank between
	trust   authority.Authority
	public  crypto.PublicKey // nil: its key is made here
}

// issuing is certificates that are being made beside the stream, which goes on meanwhile: the CA may be far away, and the
// ledger's disk slow.
type issuing struct {
	orders []order // the stream's; made and failed have one for each
	cancel context.CancelFunc
	done   chan struct{}
	made   []*svid // these two are the goroutine's until done is closed
	failed []error
}

// begin has certificates made, by one goroutine at a time, and waits a moment for them. The stream is poked when they are
// there, or cannot be.
func (ids *identities) begin(ctx context.Context, auth *trust, orders []order) {
	ctx, cancel := context.WithCancel(ctx)
	is := &issuing{
		orders: orders, cancel: cancel, done: make(chan struct{}),
		made: make([]*svid, len(orders)), failed: make([]error, len(orders)),
	}
	ids.out = is
	m := maker{ids.applicant, auth, ids.held, ids.csr}
	ids.work.Go(func() {
		defer cancel()
		for i, o := range orders {
			is.made[i], is.failed[i] = m.make(ctx, o)
		}
		close(is.done)
		ids.poke()
	})
	wait := patiently
	if _, remote := auth.Authority.(authority.Remote); remote {
		wait = briefly
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-is.done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// collect takes over what has been made and is still lacking, and reports whether nothing is out any more. What was for a
// key, a service or a CA that is no longer wanted is given up.
func (ids *identities) collect(lack []order, now time.Time) bool {
	is := ids.out
	if is == nil {
		return true
	}
	select {
	case <-is.done:
	default:
		if !slices.ContainsFunc(is.orders, func(o order) bool { return slices.Contains(lack, o) }) {
			is.orders = nil // whatever comes of them
			is.cancel()
		}
		return false
	}
	ids.out = nil
	var fault error
	taken := false
	for i, o := range is.orders {
		switch {
		case !slices.Contains(lack, o):
		case is.made[i] != nil:
			ids.svids[o.name], taken = is.made[i], true
			ids.forget(is.made[i].leaf)
		case fault == nil:
			fault = fmt.Errorf("certificate of service %q: %w", o.service, is.failed[i])
		}
	}
	switch {
	case fault != nil:
		ids.fail(fault, now)
	case taken:
		ids.fail(nil, now)
	}
	return true
}

// forget lets go of what the proxy has from before of an identity that it is given now: once it has got another, it would
// refuse to go back to that, which is older.
func (ids *identities) forget(leaf *x509.Certificate) {
	ids.held = slices.DeleteFunc(ids.held, func(chain []*x509.Certificate) bool {
		return slices.EqualFunc(chain[0].URIs, leaf.URIs, func(a, b *url.URL) bool { return a.String() == b.String() })
	})
}

// fail notes why something could not be made, and when to try again. A nil error is that all could.
func (ids *identities) fail(err error, now time.Time) {
	ids.fault = err
	if err == nil {
		ids.pause, ids.retry = nil, time.Time{}
		return
	}
	if ids.pause == nil {
		ids.pause = backoff.NewExponentialBackOff(backoff.WithInitialInterval(leastRetry), backoff.WithMaxInterval(mostRetry),
			backoff.WithMultiplier(2), backoff.WithMaxElapsedTime(0))
	}
	ids.retry = now.Add(min(ids.pause.NextBackOff(), max(leastRetry, ids.life/10)))
}

// leastRetry and mostRetry bound the pause before a certificate that could not be made is tried again, give or take a half.
// It is never more than a tenth of a certificate's life, so that one that is due does not end meanwhile.
const (
	leastRetry = time.Second
	mostRetry  = time.Minute
)

// close ends what is being made, and returns when nothing of it is left.
func (ids *identities) close() {
	if ids.out != nil {
		ids.out.cancel()
	}
	ids.work.Wait()
}

// maker makes the certificates of one proxy. It is not changed once made.
type maker struct {
	applicant
	auth *trust
	held [][]*x509.Certificate // what the proxy has from before, so that it need not be made again
	csr  []byte                // in DER, of the proxy's own key
}

// make gives out a certificate: one that the proxy already has if it will do, else a new one.
func (m *maker) make(ctx context.Context, o order) (*svid, error) {
	id, err := certs.WorkloadID(m.mesh, o.service)
	if err != nil {
		return nil, err
	}
	if chain := m.adopt(o, id, time.Now()); chain != nil {
		if err := m.record(ctx, o.service, chain[0]); err != nil {
			return nil, err
		}
		return newSVID(o, chain, nil, sinceMade(chain[0])), nil
	}
	r := certs.Request{Key: o.public, CSR: m.csr, ID: id, DNS: strings.Fields(o.names), Life: m.auth.backend.LeafLife(), NotAfter: m.notAfter}
	var key crypto.Signer
	if o.public == nil {
		if key, err = m.ownKey(&r); err != nil {
			return nil, err
		}
	}
	chain, err := m.issue(ctx, r)
	if err != nil {
		return nil, err
	}
	if names := dnsNames(chain[0]); names != o.names {
		return nil, fmt.Errorf("the CA has signed the DNS names %q, and was asked for %q", names, o.names)
	}
	if err := m.record(ctx, o.service, chain[0]); err != nil {
		return nil, err
	}
	m.issued(chain[0])
	s := newSVID(o, chain, key, time.Now())
	s.made = true
	return s, nil
}

// ownKey makes a key for a proxy that has none, and puts it into the request.
func (m *maker) ownKey(r *certs.Request) (crypto.Signer, error) {
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	r.Key, r.CSR = key.Public(), nil
	if _, ok := m.auth.Authority.(authority.Remote); ok {
		text, err := certs.NewCSR(key)
		if err != nil {
			return nil, err
		}
		r.CSR = derOf(text)
	}
	return key, nil
}

// derOf is what the first PEM block has.
func derOf(text []byte) []byte {
	block, _ := pem.Decode(text)
	return block.Bytes
}

// issue asks the CA, for as long as the backend allows.
func (m *maker) issue(ctx context.Context, r certs.Request) ([]*x509.Certificate, error) {
	limit := m.auth.backend.RequestTimeout()
	if limit == 0 {
		limit = mostIssue
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the CA did not answer within %v", limit))
	defer cancel()
	chain, err := m.auth.Issue(ctx, r)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return chain, err
}

// adopt is a chain that the proxy has and that will do: for its key, not due, and not longer than one that would be made
// now. It is nil if there is none.
func (m *maker) adopt(o order, id spiffeid.ID, now time.Time) []*x509.Certificate {
	for _, chain := range m.held {
		leaf := chain[0]
		key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if ok && o.public != nil && key.Equal(o.public) && dnsNames(leaf) == o.names && now.Before(renewal(leaf, sinceMade(leaf))) && (m.notAfter.IsZero() || !leaf.NotAfter.After(m.notAfter)) &&
			!m.ledger.IsWithdrawn(m.mesh, leaf) && certs.Check(chain, m.auth.roots, id, now) == nil {
			return chain
		}
	}
	return nil
}

// sinceMade is when a certificate from before was made, as far as it tells.
func sinceMade(leaf *x509.Certificate) time.Time { return leaf.NotBefore.Add(certs.Backdate) }

// dnsNames are the DNS names of a certificate, sorted, with a blank between.
func dnsNames(leaf *x509.Certificate) string {
	return strings.Join(slices.Sorted(slices.Values(leaf.DNSNames)), " ")
}

// record has it written down who has the certificate, before the proxy gets it. One from before belongs to this token
// then, and no longer to the old one: it stays good when that is revoked, and goes with this.
func (m *maker) record(ctx context.Context, service string, leaf *x509.Certificate) error {
	c := ledger.CertificateOf(leaf, service, m.auth.fingerprint)
	c.TokenID, c.Proxy = m.token, m.proxy
	return m.ledger.Record(ctx, m.mesh, c)
}
