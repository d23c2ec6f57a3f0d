package cp

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"koguma/certs"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

// peers are the other control planes of the store. Who there is stands in the store, each with a lease of its own; what they
// see of their proxies they tell each other, over streams that end up in the roll.
//
// A peer counts from the moment its lease is seen until it says goodbye or the lease lapses. In between, one that is not
// heard from may have proxies in any state, and the roll knows that.
type peers struct {
	store   store.Store
	lease   *lease
	ca      *x509.Certificate
	cert    *ownCert
	roll    *roll
	own     accountant
	log     *slog.Logger
	metrics *metrics
	terms   terms
	dir     string // the work directory, "" if there is none

	presence *presence // nil where there can be none
	listener net.Listener
	wake     chan struct{} // there is a peer that nobody attends to, or a lease to remove

	mu     sync.Mutex
	known  map[string]*remote // by instance id
	age    time.Duration      // how long the store had been answering when ...
	beaten time.Time          // ... the own lease was seen renewed last
}

// remote is one of the others.
type remote struct {
	id, address string

	// The rest is guarded by the lock of peers.
	record   *policy.ControlPlane
	seen     time.Duration   // how long the store had been answering when its lease was seen renewed last
	lapsed   bool            // it was not renewed for too long
	attended bool            // somebody keeps a stream to it
	life     context.Context // ends when it is gone
	end      context.CancelFunc

	conn       *http.ClientConn // nil unless it is heard
	since      time.Time        // when it was heard, or not any more
	complained bool             // the log has that it does not answer
}

// terms are how soon control planes notice what becomes of each other.
type terms struct {
	renew   time.Duration // between renewals of a lease
	lapse   time.Duration // without renewal, after which a control plane counts as gone
	remove  time.Duration // without renewal, after which others remove the lease
	beat    time.Duration // between signs of life on a stream
	silence time.Duration // without a sign of life, after which a stream counts as broken
}

func usualTerms() terms {
	return terms{renew: 5 * time.Second, lapse: 15 * time.Second, remove: time.Minute, beat: 2 * time.Second, silence: 5 * time.Second}
}

// peerLife is how long the certificate lives that a control plane shows to the others.
const peerLife = 30 * 24 * time.Hour

// newPeers knows nobody yet.
func newPeers(id string, s store.Store, ca *certs.CA, r *reconciler, m *metrics, log *slog.Logger, t terms) *peers {
	record := policy.ControlPlane{
		Meta: policy.Meta{Type: policy.TypeControlPlane, Name: id}, Started: time.Now().UTC(), Release: Version(),
	}
	issue := func(key crypto.PublicKey) ([]*x509.Certificate, error) { return ca.IssuePeer(key, id, peerLife) }
	return &peers{
		store: s, lease: &lease{store: s, record: record, every: t.renew, log: log}, ca: ca.Certificate(), cert: &ownCert{issue: issue},
		roll: r.roll, own: r, log: log, metrics: m, terms: t, wake: make(chan struct{}, 1), known: map[string]*remote{},
	}
}

// open listens to the others, and lets them know where. Whoever has seen the lease reckons with proxies here, so it comes
// before the first of them.
func (p *peers) open(ctx context.Context, c settings.InterCPConfig) error {
	if p.dir != "" {
		if err := p.succeed(ctx); err != nil {
			p.log.Warn("if a control plane of this machine was killed, its lease has to lapse first", "error", err)
		}
	}
	l, err := listen(c.Server.Interface, c.Server.Port, "interCp.server.port (KUMA_INTER_CP_SERVER_PORT)")
	if err != nil {
		return err
	}
	p.listener = l
	p.lease.record.Address = c.Address(portOf(l.Addr()))
	if err := p.lease.renew(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// succeed takes the place of control planes of this machine that have ended without a goodbye.
func (p *peers) succeed(ctx context.Context) (err error) {
	if p.presence, err = enter(p.dir, p.lease.record.Name); err != nil {
		return err
	}
	return p.presence.bury(func(id string) error {
		err := p.store.Write(ctx, store.Op{Delete: policy.Key{Type: policy.TypeControlPlane, Name: id}, Expect: store.Any})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
}

// close ends what open began. Nobody may be connected any more.
func (p *peers) close() {
	p.listener.Close()
	ended := p.lease.end()
	if p.presence == nil {
		return
	}
	if err := p.presence.leave(!ended); err != nil {
		p.log.Warn("what tells the next control plane of this machine that this one has ended could not be put right", "error", err)
	}
}

// run serves the others, and keeps a stream to each, until the context ends.
func (p *peers) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.serve(ctx) })
	g.Go(func() error { return p.lease.run(ctx) })
	g.Go(func() error {
		for {
			unattended, dead := p.take()
			for _, q := range unattended {
				g.Go(func() error { p.attend(ctx, q); return nil })
			}
			for _, record := range dead {
				p.remove(ctx, record)
			}
			select {
			case <-p.wake:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return g.Wait()
}

// take is the peers that nobody attends to, and the leases that are to be removed.
func (p *peers) take() (unattended []*remote, dead []*policy.ControlPlane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.known {
		switch {
		case !q.lapsed && !q.attended:
			q.attended = true
			unattended = append(unattended, q)
		case p.age-q.seen >= p.terms.remove:
			dead = append(dead, q.record)
		}
	}
	return unattended, dead
}

// remove removes the lease of a control plane that never said goodbye.
func (p *peers) remove(ctx context.Context, record *policy.ControlPlane) {
	err := p.store.Write(ctx, store.Op{Delete: record.Key(), Expect: int64(record.Metadata().Version)})
	if err != nil && !errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
		p.log.Warn("the lease of a control plane that is gone could not be removed; trying again", "controlPlane", record.Name, "error", err)
	}
}

// see takes in what became of a lease in the store.
func (p *peers) see(e store.Event) {
	record, _ := e.Resource.(*policy.ControlPlane)
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.known[e.Key.Name]
	switch {
	case e.Key.Name == p.lease.record.Name:
		if record != nil {
			p.tick()
		}
		return
	case record == nil && q == nil:
		return
	case record == nil:
		delete(p.known, e.Key.Name)
		if !q.lapsed {
			p.lose(q, "another control plane has gone")
		}
	case q == nil || q.lapsed:
		q = &remote{id: record.Name, address: record.Address, record: record, seen: p.now(), since: time.Now()}
		q.life, q.end = context.WithCancel(context.Background())
		p.known[e.Key.Name] = q
		p.roll.unheard(q.id, q.address, q.since)
	default:
		q.record, q.seen = record, p.now()
	}
	p.count()
	p.signal()
}

// now is how long the store has been answering by now, as far as that is known. The caller holds the lock.
func (p *peers) now() time.Duration {
	if p.beaten.IsZero() {
		return p.age
	}
	return p.age + min(time.Since(p.beaten), 2*p.terms.renew)
}

// tick lets time go by for the leases of the others. The own lease going round by the store is what shows that theirs would
// have: while nobody can write, nobody's lease lapses. The caller holds the lock.
func (p *peers) tick() {
	p.age, p.beaten = p.now(), time.Now()
	for _, q := range p.known {
		if !q.lapsed && p.age-q.seen >= p.terms.lapse {
			q.lapsed = true
			p.lose(q, "another control plane is gone: it has not renewed its lease")
		}
	}
	p.count()
	p.signal()
}

// lose lets go of a peer. The caller holds the lock.
func (p *peers) lose(q *remote, why string) {
	q.end()
	q.conn = nil
	p.roll.lost(q.id)
	p.log.Info(why, "controlPlane", q.id, "address", q.address)
}

func (p *peers) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// count shows how many peers there are. The caller holds the lock.
func (p *peers) count() {
	heard, unheard := 0, 0
	for _, q := range p.known {
		switch {
		case q.lapsed:
		case q.conn != nil:
			heard++
		default:
			unheard++
		}
	}
	p.metrics.peers.WithLabelValues("heard").Set(float64(heard))
	p.metrics.peers.WithLabelValues("unheard").Set(float64(unheard))
}
