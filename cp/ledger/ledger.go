// Package ledger is the book of the certificates that proxies have, and takes those back that are not to be accepted any more.
//
// A certificate is in the store before anybody gets it, with the token and the proxy that it is for. So revoking a token takes
// its certificates with it, whichever control plane issued them, and a CA can go when nobody has a certificate by it.
package ledger

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// Ledger is the book of the certificates that proxies have. The one who revokes a token may not be the one who issued by
// it, a thief need not be connected, and a root can go only when nobody has a certificate under it: so a certificate is in
// the store, for all control planes of that store, before anybody gets it.
//
// What is in the store comes back through the reconciler, which keeps the ledger up to date; everybody may ask it.
type Ledger struct {
	store store.Store

	// turn holds a value while somebody writes. What comes meanwhile waits in queue, and is written together.
	turn  chan struct{}
	queue []*entry // guarded by mu

	mu     sync.Mutex
	meshes map[string]*book
}

// book is what the ledger knows of one mesh.
type book struct {
	pages     map[string]*policy.Issuance // by name
	newest    map[string]entered          // by the serial of a certificate
	withdrawn map[string]bool             // by serial
	barred    map[string]bool             // proxies by name, that may not have any
}

// entered is what was written of a certificate last, and the version of the page that says so. Whoever had it earlier
// may be good, but is not the one who has it now.
type entered struct {
	policy.IssuedCertificate
	version uint64
}

// entry is one certificate that waits to be written down. Who writes it sets err and closes done.
type entry struct {
	mesh        string
	certificate policy.IssuedCertificate
	err         error
	done        chan struct{}
}

// New is an empty ledger over a store. [Ledger.Apply] fills it.
func New(s store.Store) *Ledger {
	return &Ledger{store: s, turn: make(chan struct{}, 1), meshes: map[string]*book{}}
}

// at is the book of a mesh. The caller holds the lock.
func (l *Ledger) at(mesh string) *book {
	b := l.meshes[mesh]
	if b == nil {
		b = &book{pages: map[string]*policy.Issuance{}, newest: map[string]entered{}}
		l.meshes[mesh] = b
	}
	return b
}

// Serial is the serial number of a certificate as the ledger writes it.
func Serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// Record returns when it is written down who has a certificate, or with an error that nobody may have it. Those that come
// while somebody writes are written together, and a lone one does not wait for company.
func (l *Ledger) Record(ctx context.Context, mesh string, c policy.IssuedCertificate) error {
	l.mu.Lock()
	last := l.at(mesh).newest[c.Serial]
	l.mu.Unlock()
	if last.Serial == c.Serial && last.TokenID == c.TokenID && last.Proxy == c.Proxy {
		return nil
	}
	return l.write(ctx, mesh, c)
}

// CertificateOf is a certificate as the ledger writes it, but for who has it.
func CertificateOf(leaf *x509.Certificate, service, authority string) policy.IssuedCertificate {
	return policy.IssuedCertificate{Serial: Serial(leaf), Service: service, Authority: authority, NotAfter: leaf.NotAfter.UTC()}
}

// Retire notes that a proxy uses its certificates no more. They stay its token's, to be withdrawn with that.
func (l *Ledger) Retire(ctx context.Context, mesh, proxy string) error {
	l.mu.Lock()
	b := l.at(mesh)
	var left []policy.IssuedCertificate
	for serial, c := range b.newest {
		if c.Proxy == proxy && time.Now().Before(c.NotAfter) {
			c.Proxy = "" // from now on, so that who is back is written down again
			b.newest[serial] = c
			left = append(left, c.IssuedCertificate)
		}
	}
	l.mu.Unlock()
	return l.write(ctx, mesh, left...)
}

// write has all of these written down.
func (l *Ledger) write(ctx context.Context, mesh string, all ...policy.IssuedCertificate) error {
	var entries []*entry
	for _, c := range all {
		entries = append(entries, &entry{mesh: mesh, certificate: c, done: make(chan struct{})})
	}
	l.mu.Lock()
	l.queue = append(l.queue, entries...)
	l.mu.Unlock()
	var err error
	for _, e := range entries {
		select {
		case l.turn <- struct{}{}:
			l.flush(ctx)
			<-l.turn
			<-e.done // by us, or by the one before
		case <-e.done:
		}
		err = errors.Join(err, e.err)
	}
	return err
}

// flush writes all that waits. The caller has the turn.
func (l *Ledger) flush(ctx context.Context) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	pages := map[string]*policy.Issuance{}
	var ops []store.Op
	for _, e := range queue {
		p := pages[e.mesh]
		if p == nil {
			p = &policy.Issuance{Meta: policy.Meta{Type: policy.TypeIssuance, Mesh: e.mesh, Name: token.NewID()}}
			pages[e.mesh] = p
			ops = append(ops, store.Op{Put: p, Expect: store.Absent})
		}
		p.Certificates = append(p.Certificates, e.certificate)
	}
	var err error
	if len(ops) > 0 {
		// Others wait for this as well, so it does not end with the one who happens to write.
		if err = l.store.Write(context.WithoutCancel(ctx), ops...); err != nil {
			err = fmt.Errorf("the certificate cannot be written down: %w", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range queue {
		newest := l.at(e.mesh).newest
		if _, known := newest[e.certificate.Serial]; !known && err == nil {
			newest[e.certificate.Serial] = entered{e.certificate, 0} // until it comes back through the store
		}
		e.err = err
		close(e.done)
	}
}

// Apply takes a change of the store in, and reports whether it can be that something has to be withdrawn.
func (l *Ledger) Apply(e store.Event, revoked func(mesh, token string) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(e.Key.Mesh)
	switch e.Key.Type {
	case policy.TypeIssuance:
		b.replace(e.Key.Name, e.Resource)
		if p := b.pages[e.Key.Name]; p != nil {
			for _, c := range p.Certificates {
				if b.barred[c.Proxy] || revoked(e.Key.Mesh, c.TokenID) {
					return true
				}
			}
		}
	case policy.TypeWithdrawals:
		b.withdrawn = map[string]bool{}
		if w, ok := e.Resource.(*policy.Withdrawals); ok {
			for _, c := range w.Certificates {
				b.withdrawn[c.Serial] = true
			}
		}
	}
	return false
}

// replace puts a page in the place of the one of that name; nil takes that away.
func (b *book) replace(name string, now policy.Resource) {
	if old := b.pages[name]; old != nil {
		for _, c := range old.Certificates {
			if b.newest[c.Serial].version == old.Version {
				delete(b.newest, c.Serial) // it has ended, as all of the page have
			}
		}
		delete(b.pages, name)
	}
	p, ok := now.(*policy.Issuance)
	if !ok {
		return
	}
	b.pages[name] = p
	for _, c := range p.Certificates {
		if p.Version >= b.newest[c.Serial].version {
			b.newest[c.Serial] = entered{c, p.Version}
		}
	}
}

// Bar has the certificates of these proxies of a mesh be due, and of no others any more. It reports whether that makes a
// difference.
func (l *Ledger) Bar(mesh string, proxies map[string]bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(mesh)
	if maps.Equal(b.barred, proxies) {
		return false
	}
	b.barred = maps.Clone(proxies)
	return true
}

// IsWithdrawn reports whether a certificate is not to be accepted any more.
func (l *Ledger) IsWithdrawn(mesh string, leaf *x509.Certificate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(mesh).withdrawn[Serial(leaf)]
}

// due is the certificates that are to be withdrawn and are not yet: those that live, and that were shown last by a token
// that is revoked, or given to a proxy that may not be in its mesh.
func (l *Ledger) due(mesh string, revoked func(mesh, token string) bool, now time.Time) []policy.IssuedCertificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(mesh)
	var due []policy.IssuedCertificate
	for _, c := range b.newest {
		out := b.barred[c.Proxy] || revoked(mesh, c.TokenID)
		if out && !b.withdrawn[c.Serial] && now.Before(c.NotAfter) {
			due = append(due, c.IssuedCertificate)
		}
	}
	return due
}

// Living is the certificates that proxies may use: those that have not ended, are not withdrawn, and whose proxy has not
// left; by the proxy. It comes with the serial numbers of those that are withdrawn, which nobody is to change.
func (l *Ledger) Living(mesh string, now time.Time) (living map[string][]policy.IssuedCertificate, withdrawn map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(mesh)
	living = map[string][]policy.IssuedCertificate{}
	for _, c := range b.newest {
		if c.Proxy != "" && !b.withdrawn[c.Serial] && now.Before(c.NotAfter) {
			living[c.Proxy] = append(living[c.Proxy], c.IssuedCertificate)
		}
	}
	return living, b.withdrawn
}

// ended is the pages all of whose certificates have ended, and when the next one has; zero if none is left.
func (l *Ledger) ended(now time.Time) (pages []policy.Key, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.meshes {
		for _, p := range b.pages {
			var last time.Time
			for _, c := range p.Certificates {
				if c.NotAfter.After(last) {
					last = c.NotAfter
				}
			}
			switch {
			case !now.Before(last):
				pages = append(pages, p.Key())
			case next.IsZero() || last.Before(next):
				next = last
			}
		}
	}
	return pages, next
}
