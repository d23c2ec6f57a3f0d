package cp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"koguma/cp/explain"
	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/store"
)

// reconciler gives each connected proxy what it should have. One goroutine takes in what changes in the store and who
// comes and goes, and offers each session the view that follows; nothing is polled.
type reconciler struct {
	store   store.Store
	keys    *keyring
	ledger  *ledger.Ledger
	log     *slog.Logger
	metrics *metrics
	// delay is how long a proxy that vanished has to come back before the Dataplane that it brought along is removed.
	delay       time.Duration
	withdrawals *ledger.Withdrawals
	rotations   *rotations
	arrivals    arrivals
	roll        *roll
	peered      func(store.Event) // takes in what becomes of the leases of control planes; nil if that is nobody's concern

	progress progressed

	index  *index // run's own
	synced chan struct{}
	wake   chan struct{} // there is something in joined or parted

	mu       sync.Mutex
	sessions map[policy.Key]*session
	last     map[policy.Key]policy.DataplaneInsight // of those that have left
	known    map[policy.Key]policy.ProxyIdentity    // of those that have left
	rootEnds map[string]map[string]time.Time        // when the roots end, by mesh and backend
	vanished map[policy.Key]sighting                // of those that may still be there
	endings  map[policy.Key]explain.Ending          // of those that have left
	joined   []*session
	ready    []settlement
	parted   []parting
	hearing  []*session
	silenced []policy.Key
	off      []*policy.Mesh // whose time has come
	leaving  []policy.Key
}

// A change that may wait does so for minPause, and until pausePerProxy has passed since the last look at the mesh for
// each of the proxies that were looked at. So one instance more is known at once, and a thousand that come together do
// not bring a thousand changes to each of them.
const (
	minPause      = 10 * time.Millisecond
	maxPause      = time.Second
	pausePerProxy = 2 * time.Millisecond
)

// restRefresh is how often it is looked whether something has changed outside of the store.
const restRefresh = 5 * time.Second

func newReconciler(s store.Store, k *keyring, m *metrics, log *slog.Logger, delay time.Duration) *reconciler {
	r := &reconciler{
		store: s, keys: k, ledger: ledger.New(s), metrics: m, log: log, delay: delay,
		index: newIndex(), synced: make(chan struct{}), wake: make(chan struct{}, 1),
		sessions: map[policy.Key]*session{}, last: map[policy.Key]policy.DataplaneInsight{},
		known: map[policy.Key]policy.ProxyIdentity{}, rootEnds: map[string]map[string]time.Time{},
		vanished: map[policy.Key]sighting{}, endings: map[policy.Key]explain.Ending{},
	}
	r.roll = newRoll(r, r.signal)
	r.index.connected = r.there
	r.withdrawals = ledger.NewWithdrawals(s, r.ledger, k.isRevoked, log)
	r.rotations = &rotations{
		store: s, ledger: r.ledger, heard: r.heard, silence: r.roll.silence, log: log, metrics: m, started: time.Now(),
		wake: make(chan struct{}, 1), meshes: map[string]*course{},
	}
	return r
}

func (r *reconciler) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run reconciles until the context ends.
func (r *reconciler) run(ctx context.Context) error {
	watch, err := r.store.Watch(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan batch)
	g.Go(func() error {
		for {
			events, err := watch.Next(ctx)
			if err != nil {
				return err
			}
			select {
			case batches <- batch{events, watch.Version()}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	leavers := newDepartures(r)
	g.Go(func() error { return leavers.run(ctx) })
	g.Go(func() error { return r.withdrawals.Run(ctx) })
	g.Go(func() error { return r.rotations.run(ctx) })
	g.Go(func() error { return r.loop(ctx, batches, leavers) })
	return g.Wait()
}

// loop is the one goroutine that owns the index.
func (r *reconciler) loop(ctx context.Context, batches <-chan batch, leavers *departures) error {
	var pause <-chan time.Time // runs while there are changes that wait
	waiting := map[string]bool{}
	var rested time.Time // when what waits may be looked at
	first := true
	var version uint64 // of the store
	refresh := time.NewTicker(restRefresh)
	defer refresh.Stop()
	for {
		now := map[string]bool{} // meshes to look at at once
		select {
		case b := <-batches:
			version = b.version
			for _, e := range b.events {
				r.take(ctx, e, now, waiting)
				if e.Key.Type == policy.TypeDataplane {
					r.hearOf(e.Key, now, waiting, leavers)
				}
			}
			if first {
				first, r.index.live = false, true
				leavers.expectBack(r.index)
				close(r.synced)
			}
		case <-r.wake:
			r.comeAndGo(now, waiting, leavers)
			r.hearOthers(now, waiting, leavers)
			r.switchOver(now)
		case <-pause:
			now, waiting, pause = waiting, map[string]bool{}, nil
		case <-refresh.C:
			for name, m := range r.index.meshes {
				if m.refresh() {
					now[name] = true
				}
			}
			r.suppose(waiting)
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(now) > 0 {
			touched := r.offer(now)
			r.noteRoots(now)
			rested = time.Now().Add(min(time.Duration(touched)*pausePerProxy, maxPause))
			r.survey(now)
		}
		r.progress.come(version, waiting)
		r.roll.progressed(version)
		if len(waiting) > 0 && pause == nil {
			pause = time.After(max(minPause, time.Until(rested)))
		}
	}
}

// take brings the index up to date with one change, notes which mesh it concerns, and judges again the session that
// it concerns. A proxy that has left and is back may be in before its deletion is heard of; that is passed over then. One
// that joins from now on has been judged by what is there now.
func (r *reconciler) take(ctx context.Context, e store.Event, now, waiting map[string]bool) {
	if e.Key.Type == policy.TypeControlPlane {
		if r.peered != nil {
			r.peered(e)
		}
		return
	}
	s := r.connected(e.Key)
	if e.Resource == nil && s != nil {
		if _, err := r.store.Get(ctx, e.Key); err == nil {
			return
		}
	}
	mesh := e.Key.Mesh
	if e.Key.Type == policy.TypeMesh {
		mesh = e.Key.Name
	}
	if e.Key.Type == policy.TypeSecret {
		concerns, err := r.keys.apply(e)
		if err != nil {
			r.log.Error("a signing key cannot be read; no token is accepted by it", "secret", e.Key.Name, "mesh", mesh, "error", err)
		}
		if concerns {
			r.judgeTokens(mesh)
			r.withdrawals.Look(mesh)
		}
	}
	if r.ledger.Apply(e, r.keys.isRevoked) {
		r.withdrawals.Look(mesh)
	}
	if e.Key.Type == policy.TypeIssuance {
		return // nobody's configuration depends on it
	}
	if r.index.apply(e) {
		waiting[mesh] = true
	} else {
		now[mesh] = true
	}
	switch e.Key.Type {
	case policy.TypeDataplane:
		r.judgeDataplane(e, s)
		r.judgeMembers(mesh)
	case policy.TypeMesh:
		r.awaitSilence(mesh)
		r.judgeMembers(mesh)
	}
}

// forget drops what was seen of a proxy whose Dataplane is gone.
func (r *reconciler) forget(key policy.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
	delete(r.known, key)
	delete(r.endings, key)
}

// offer looks at all sessions of these meshes, and reports how many there are. A look is cheap: what has not changed
// goes no further.
func (r *reconciler) offer(meshes map[string]bool) int {
	r.mu.Lock()
	sessions := make([]*session, 0, len(r.sessions))
	for key, s := range r.sessions {
		if meshes[key.Mesh] {
			sessions = append(sessions, s)
		}
	}
	r.mu.Unlock()
	for _, s := range sessions {
		m := r.index.at(s.key.Mesh)
		if d := m.dataplanes[s.key.Name]; d != nil {
			r.offerOne(m, d, s)
		}
	}
	return len(sessions)
}

func (r *reconciler) offerOne(m *meshIndex, d *policy.Dataplane, s *session) {
	v, auth, err := m.view(d)
	if err != nil {
		s.delivery.looked(false)
	}
	if errors.Is(err, errUnsettled) {
		return // it is about to be, and then everybody is looked at again
	}
	s.report(faultView, err)
	if m.noCRL != nil {
		r.log.Error("there is no revocation list, so certificates of revoked tokens are good for new connections until they end; "+
			"streams, endpoints and open connections are cut all the same", "mesh", d.Mesh, "error", m.noCRL)
		m.noCRL = nil // said, until there is another
	}
	if err == nil {
		s.offer(v, auth, d)
		s.delivery.looked(m.next == nil)
	}
}
