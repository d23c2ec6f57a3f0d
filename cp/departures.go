package cp

import (
	"context"
	"errors"
	"sync"
	"time"

	"koguma/policy"
	"koguma/store"
)

// departures removes the Dataplanes of proxies that brought theirs along and are gone: at once if they said goodbye,
// and after a while if they just vanished, for those may come back.
type departures struct {
	reconciler *reconciler
	wake       chan struct{}

	mu  sync.Mutex
	due map[policy.Key]time.Time
}

// restartGrace is how long proxies have to come back to a control plane that was restarted, beside the usual delay.
const restartGrace = 30 * time.Second

// retryRemoval is how long to wait before a Dataplane that could not be removed is tried again.
const retryRemoval = 5 * time.Second

func newDepartures(r *reconciler) *departures {
	return &departures{reconciler: r, wake: make(chan struct{}, 1), due: map[policy.Key]time.Time{}}
}

// expect notes that the proxy is gone.
func (d *departures) expect(key policy.Key, left bool) {
	at := time.Now()
	if !left {
		at = at.Add(d.reconciler.delay)
	}
	d.set(key, at)
}

// expectBack notes that no proxy in the index is connected yet.
func (d *departures) expectBack(x *index) {
	at := time.Now().Add(d.reconciler.delay + restartGrace)
	for _, m := range x.meshes {
		for _, p := range m.dataplanes {
			if p.Labels[labelLifetime] == lifetimeSession {
				d.set(p.Key(), at)
			}
		}
	}
}

func (d *departures) set(key policy.Key, at time.Time) {
	d.mu.Lock()
	d.due[key] = at
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take is the proxies that are due, and when the next one is.
func (d *departures) take(now time.Time) (due []policy.Key, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, at := range d.due {
		switch {
		case !at.After(now):
			due = append(due, key)
			delete(d.due, key)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return due, next
}

// run removes what is due until the context ends. What is not due then is left to the next control plane.
func (d *departures) run(ctx context.Context) error {
	for {
		due, next := d.take(time.Now())
		for _, key := range due {
			if err := d.remove(ctx, key); err != nil && ctx.Err() == nil {
				d.reconciler.log.Warn("a Dataplane whose proxy is gone could not be removed; trying again", "name", key.Name, "mesh", key.Mesh, "error", err)
				d.set(key, time.Now().Add(retryRemoval))
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

// remove deletes the Dataplane of a proxy that has not come back. If it is just coming, that is looked at again later.
func (d *departures) remove(ctx context.Context, key policy.Key) error {
	done, err := d.reconciler.arrivals.remove(key, func() error { return d.delete(ctx, key) })
	if !done {
		d.set(key, time.Now().Add(retryRemoval))
	}
	return err
}

func (d *departures) delete(ctx context.Context, key policy.Key) error {
	if d.reconciler.connected(key) != nil {
		return nil
	}
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
	return err
}
