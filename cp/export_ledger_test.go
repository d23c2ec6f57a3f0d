package cp

import (
	"context"
	"crypto/x509"
	"time"

	"koguma/policy"
	"koguma/store"
)

// Ledger is a ledger on its own.
type Ledger struct{ *ledger }

// NewLedger is an empty ledger over a store.
func NewLedger(s store.Store) Ledger { return Ledger{newLedger(s)} }

// Record is record.
func (l Ledger) Record(ctx context.Context, mesh, service, token string, leaf *x509.Certificate) error {
	c := certificateOf(leaf, service, "")
	c.TokenID, c.Proxy = token, service+"-1"
	return l.record(ctx, mesh, c)
}

// Follow keeps the ledger up to date with its store until the context ends.
func (l Ledger) Follow(ctx context.Context) error {
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
			l.apply(e, func(string, string) bool { return false })
		}
	}
}

// Due is due.
func (l Ledger) Due(mesh string, revoked func(mesh, token string) bool) []policy.IssuedCertificate {
	return l.due(mesh, revoked, time.Now())
}

// RestSweep is restSweep.
const RestSweep = restSweep
