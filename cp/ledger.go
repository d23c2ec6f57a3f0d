package cp

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
)

// ledger is the book of the certificates that tokens have brought. The one who revokes a token may not be the one who
// issued by it, and a thief need not be connected: so a certificate is in the store, for all control planes of that
// store, before anybody gets it.
//
// What is in the store comes back through the reconciler, which keeps the ledger up to date; everybody may ask it.
type ledger struct {
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
	bearers   map[string]bearer           // by the serial of a certificate
	withdrawn map[string]bool             // by serial
}

// bearer is the token by which a certificate was shown last, and the version of the page that says so. Whoever has an
// earlier one as well may be good, but is not the one who has the certificate now.
type bearer struct {
	token   string
	version uint64
}

// entry is one certificate that waits to be written down. Who writes it sets err and closes done.
type entry struct {
	mesh        string
	certificate policy.IssuedCertificate
	err         error
	done        chan struct{}
}

func newLedger(s store.Store) *ledger {
	return &ledger{store: s, turn: make(chan struct{}, 1), meshes: map[string]*book{}}
}

// at is the book of a mesh. The caller holds the lock.
func (l *ledger) at(mesh string) *book {
	b := l.meshes[mesh]
	if b == nil {
		b = &book{pages: map[string]*policy.Issuance{}, bearers: map[string]bearer{}}
		l.meshes[mesh] = b
	}
	return b
}

// serialOf is the serial number of a certificate as the ledger writes it.
func serialOf(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// record returns when it is written down that the certificate belongs to a token, or with an error that it may not be.
// Those that come while somebody writes are written together, and a lone one does not wait for company.
func (l *ledger) record(ctx context.Context, mesh, service, token string, leaf *x509.Certificate) error {
	e := &entry{mesh: mesh, done: make(chan struct{}), certificate: policy.IssuedCertificate{
		Serial: serialOf(leaf), Service: service, TokenID: token, NotAfter: leaf.NotAfter.UTC(),
	}}
	l.mu.Lock()
	if l.at(mesh).bearers[e.certificate.Serial].token == token {
		l.mu.Unlock()
		return nil
	}
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		l.flush(ctx)
		<-l.turn
		<-e.done // by us, or by the one before
	case <-e.done:
	}
	return e.err
}

// flush writes all that waits. The caller has the turn.
func (l *ledger) flush(ctx context.Context) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	pages := map[string]*policy.Issuance{}
	var ops []store.Op
	for _, e := range queue {
		p := pages[e.mesh]
		if p == nil {
			p = &policy.Issuance{Meta: policy.Meta{Type: policy.TypeIssuance, Mesh: e.mesh, Name: newID()}}
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
	for _, e := range queue {
		e.err = err
		close(e.done)
	}
}

// apply takes a change of the store in, and reports whether it can be that something has to be withdrawn.
func (l *ledger) apply(e store.Event, revoked func(mesh, token string) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(e.Key.Mesh)
	switch e.Key.Type {
	case policy.TypeIssuance:
		b.replace(e.Key.Name, e.Resource)
		if p := b.pages[e.Key.Name]; p != nil {
			for _, c := range p.Certificates {
				if revoked(e.Key.Mesh, c.TokenID) {
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
			if b.bearers[c.Serial].version == old.Version {
				delete(b.bearers, c.Serial) // it has ended, as all of the page have
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
		if p.Version >= b.bearers[c.Serial].version {
			b.bearers[c.Serial] = bearer{c.TokenID, p.Version}
		}
	}
}

// isWithdrawn reports whether a certificate is not to be accepted any more.
func (l *ledger) isWithdrawn(mesh string, leaf *x509.Certificate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(mesh).withdrawn[serialOf(leaf)]
}

// due is the certificates that are to be withdrawn and are not yet: those that live, and that were shown last by a token
// that is revoked.
func (l *ledger) due(mesh string, revoked func(mesh, token string) bool, now time.Time) []policy.IssuedCertificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.at(mesh)
	var due []policy.IssuedCertificate
	for _, p := range b.pages {
		for _, c := range p.Certificates {
			last := b.bearers[c.Serial].token == c.TokenID
			if last && !b.withdrawn[c.Serial] && now.Before(c.NotAfter) && revoked(mesh, c.TokenID) {
				due = append(due, c)
			}
		}
	}
	return due
}

// ended is the pages all of whose certificates have ended, and when the next one has; zero if none is left.
func (l *ledger) ended(now time.Time) (pages []policy.Key, next time.Time) {
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
