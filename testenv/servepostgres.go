package testenv

import (
	"context"
	"testing"
	"time"
)

// ServePostgres is a server with these settings, as [Postgres.Start] has them, that runs until the test ends.
func ServePostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := NewPostgres(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Start(ctx, settings...); err != nil {
		t.Fatal(err)
	}
	return p
}
