package ledger

import (
	"context"
	"time"

	"koguma/policy"
)

// Follow keeps the ledger up to date with its store until the context ends.
func (l *Ledger) Follow(ctx context.Context) error {
	w, err := l.store.Watch(ctx)
	if err != nil {
		return err
	}
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			l.Apply(e, func(string, string) bool { return false })
		}
	}
}

// Due is due.
func (l *Ledger) Due(mesh string, revoked func(mesh, token string) bool) []policy.IssuedCertificate {
	return l.due(mesh, revoked, time.Now())
}
