package cp

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
)

// departures removes the Dataplanes of proxies that brought theirs along and are gone: at once if they said goodbye,
// and after a while if they just vanished, for those may come back. Of all who said goodbye it notes that they use their
// certificates no more.
type departures struct {
	reconciler *reconciler
	wake       chan struct{}

	mu  sync.Mutex
	due map[policy.Key]departure
}

// departure is when to see to a proxy that is gone, and whether it said goodbye.
type departure struct {
	at   time.Time
	left bool
}

// restartGrace is how long proxies have to come back to a control plane that was restarted, beside the usual delay.
const restartGrace = 30 * time.Second

// retryRemoval is how long to wait before a Dataplane that could not be removed is tried again.
const retryRemoval = 5 * time.Second

func newDepartures(r *reconciler) *departures {
	return &departures{reconciler: r, wake: make(chan struct{}, 1), due: map[policy.Key]departure{}}
}

// expect notes that the proxy is gone.
func (d *departures) expect(key policy.Key, left bool) {
	at := time.Now()
	switch {
	case !left:
		at = at.Add(d.reconciler.delay)
	case !d.reconciler.roll.alone():
		at = at.Add(moveTime)
	}
	d.set(key, departure{at, left})
}

// expectBack notes that no proxy in the index is connected yet, but for those that are already waited for.
func (d *departures) expectBack(x *index) {
	at := time.Now().Add(d.reconciler.delay + restartGrace)
	for _, m := range x.meshes {
		for _, p := range m.dataplanes {
			if p.Labels[labelLifetime] == lifetimeSession && !d.waitsFor(p.Key()) {
				d.set(p.Key(), departure{at: at})
			}
		}
	}
}

func (d *departures) waitsFor(key policy.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.due[key]
	return ok
}

func (d *departures) set(key policy.Key, when departure) {
	d.mu.Lock()
	d.due[key] = when
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take is the proxies that are due, and when the next one is.
func (d *departures) take(now time.Time) (due map[policy.Key]departure, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	due = map[policy.Key]departure{}
	for key, when := range d.due {
		switch {
		case !when.at.After(now):
			due[key] = when
			delete(d.due, key)
		case next.IsZero() || when.at.Before(next):
			next = when.at
		}
	}
	return due, next
}

// run removes what is due until the context ends. What is not due then is left to the next control plane.
func (d *departures) run(ctx context.Context) error {
	for {
		due, next := d.take(time.Now())
		for key, when := range due {
			if err := d.remove(ctx, key, when.left); err != nil && ctx.Err() == nil {
				d.reconciler.log.Warn("what a proxy that is gone has left could not be removed; trying again", "name", key.Name, "mesh", key.Mesh, "error", err)
				d.set(key, departure{time.Now().Add(retryRemoval), when.left})
			}
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-timer:
		case <-d.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remove sees to a proxy that has not come back. If it is just coming, or may be connected to a control plane that does not answer,
// that is looked at again later.
func (d *departures) remove(ctx context.Context, key policy.Key, left bool) error {
	if !d.reconciler.roll.complete() {
		d.set(key, departure{time.Now().Add(retryRemoval), left})
		return nil
	}
	done, err := d.reconciler.arrivals.remove(key, func() error {
		if d.reconciler.there(key) {
			return nil
		}
		if left {
			if err := d.reconciler.ledger.Retire(ctx, key.Mesh, key.Name); err != nil {
				return err
			}
			d.reconciler.retired(key)
		}
		return d.delete(ctx, key)
	})
	if !done {
		d.set(key, departure{time.Now().Add(retryRemoval), left})
	}
	return err
}

func (d *departures) delete(ctx context.Context, key policy.Key) error {
	r, err := d.reconciler.store.Get(ctx, key)
	if err == nil && r.Metadata().Labels[labelLifetime] != lifetimeSession {
		return nil
	}
	if err == nil {
		err = d.reconciler.store.Write(ctx, store.Op{Delete: key, Expect: int64(r.Metadata().Version)})
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err == nil {
		auditChange(d.reconciler.log, controlPlaneName, http.MethodDelete, key, "reason", "its proxy is gone")
	}
	return err
}
