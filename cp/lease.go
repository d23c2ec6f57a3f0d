package cp

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"koguma/policy"
	"koguma/store"
)

// lease is the record by which the other control planes of the store know that there is this one.
type lease struct {
	store  store.Store
	record policy.ControlPlane
	every  time.Duration // it is renewed
	log    *slog.Logger
}

const (
	// retryLease is how long to wait before a lease that could not be renewed is tried again.
	retryLease = time.Second
	// goodbye bounds how long the end of a lease may take.
	goodbye = 2 * time.Second
)

// renew writes the record, also where somebody has removed it.
func (l *lease) renew(ctx context.Context) error {
	l.record.Beat++
	record := l.record // the store shares what it is given
	return l.store.Write(ctx, store.Op{Put: &record, Expect: store.Any})
}

// run renews until the context ends.
func (l *lease) run(ctx context.Context) error {
	var fault error
	wait := l.every
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		err := l.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && fault == nil:
			l.log.Warn("the other control planes cannot be told that this one is there; it will be tried again", "error", err)
		case err == nil && fault != nil:
			l.log.Info("the other control planes have been told again that this one is there")
		}
		fault, wait = err, l.every
		if err != nil {
			wait = min(wait, retryLease)
		}
	}
}

// end tells the others that this control plane has gone, and reports whether that came about. If not they find out by themselves.
func (l *lease) end() bool {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	err := l.store.Write(ctx, store.Op{Delete: l.record.Key(), Expect: store.Any})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		l.log.Warn("the other control planes could not be told that this one has gone", "error", err)
		return false
	}
	return true
}
