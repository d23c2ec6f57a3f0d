package ledger

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
)

// Withdrawals takes certificates back whose tokens are revoked, or whose proxies may not be in their mesh any more: it writes
// down which, for all control planes to put on the revocation list of the mesh. It also clears away what has ended.
type Withdrawals struct {
	store   store.Store
	ledger  *Ledger
	revoked func(mesh, token string) bool
	log     *slog.Logger

	wake   chan struct{}
	mu     sync.Mutex
	meshes map[string]bool // to look at
}

// retryWithdrawal is how long to wait before what could not be written is tried again, and RestSweep the least time
// between two looks at what has ended.
const (
	retryWithdrawal = time.Second
	RestSweep       = time.Minute
)

// NewWithdrawals looks at nothing until it runs. revoked reports whether a token is on the list of its mesh.
func NewWithdrawals(s store.Store, l *Ledger, revoked func(mesh, token string) bool, log *slog.Logger) *Withdrawals {
	return &Withdrawals{
		store: s, ledger: l, revoked: revoked, log: log, wake: make(chan struct{}, 1), meshes: map[string]bool{},
	}
}

// Look has the mesh looked at soon.
func (w *Withdrawals) Look(mesh string) {
	w.mu.Lock()
	w.meshes[mesh] = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take is the meshes that are to be looked at.
func (w *Withdrawals) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	meshes := slices.Sorted(maps.Keys(w.meshes))
	clear(w.meshes)
	return meshes
}

// Run withdraws and sweeps until the context ends.
func (w *Withdrawals) Run(ctx context.Context) error {
	sweep := time.NewTimer(RestSweep)
	defer sweep.Stop()
	var retry <-chan time.Time
	for {
		for _, mesh := range w.take() {
			if err := w.withdraw(ctx, mesh); err != nil && ctx.Err() == nil {
				w.log.Error("certificates could not be withdrawn; trying again", "mesh", mesh, "error", err)
				w.mu.Lock()
				w.meshes[mesh] = true
				w.mu.Unlock()
				retry = time.After(retryWithdrawal)
			}
		}
		select {
		case <-w.wake:
		case <-retry:
			retry = nil
		case <-sweep.C:
			sweep.Reset(w.sweep(ctx))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withdraw writes down which certificates of the mesh are to be withdrawn that are not yet.
func (w *Withdrawals) withdraw(ctx context.Context, mesh string) error {
	return store.Again(func() error {
		now := time.Now().UTC()
		due := w.ledger.due(mesh, w.revoked, now)
		if len(due) == 0 {
			return nil
		}
		next, expect, err := w.current(ctx, mesh, now)
		if err != nil {
			return err
		}
		due = slices.DeleteFunc(due, func(c policy.IssuedCertificate) bool { // by another control plane, or this one a moment ago
			return slices.ContainsFunc(next.Certificates, func(o policy.WithdrawnCertificate) bool { return o.Serial == c.Serial })
		})
		if len(due) == 0 {
			return nil
		}
		fresh := map[string]bool{} // services
		for _, c := range due {
			fresh[c.Service] = true
			next.Certificates = append(next.Certificates,
				policy.WithdrawnCertificate{Serial: c.Serial, Authority: c.Authority, NotAfter: c.NotAfter, Withdrawn: now})
		}
		for service := range fresh {
			next.Rounds[service]++
		}
		if err := w.store.Write(ctx, store.Op{Put: next, Expect: expect}); err != nil {
			return err
		}
		for _, c := range due {
			w.log.Info("certificate withdrawn", "mesh", mesh, "service", c.Service, "serial", c.Serial, "jti", c.TokenID)
		}
		return nil
	})
}

// current is a copy of what is withdrawn in the mesh, without what has ended, and the version that it is a copy of.
func (w *Withdrawals) current(ctx context.Context, mesh string, now time.Time) (next *policy.Withdrawals, expect int64, err error) {
	next = &policy.Withdrawals{Meta: policy.Meta{Type: policy.TypeWithdrawals, Mesh: mesh, Name: mesh}, Rounds: map[string]int{}}
	r, err := w.store.Get(ctx, next.Key())
	if errors.Is(err, store.ErrNotFound) {
		return next, store.Absent, nil
	}
	if err != nil {
		return nil, 0, err
	}
	old := r.(*policy.Withdrawals)
	maps.Copy(next.Rounds, old.Rounds)
	for _, c := range old.Certificates {
		if now.Before(c.NotAfter) {
			next.Certificates = append(next.Certificates, c)
		}
	}
	return next, store.AsRead(old), nil
}

// sweep removes from the store what has ended, and is how long until the next time. What fails is left to that.
func (w *Withdrawals) sweep(ctx context.Context) time.Duration {
	now := time.Now()
	pages, next := w.ledger.ended(now)
	for _, key := range pages {
		err := w.store.Write(ctx, store.Op{Delete: key, Expect: store.Any})
		if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
			w.log.Warn("the record of certificates that have ended could not be removed", "mesh", key.Mesh, "error", err)
		}
	}
	if next.IsZero() {
		return RestSweep
	}
	return max(RestSweep, next.Sub(now))
}
