package store_test

import (
	"context"
	"testing"

	"koguma/store"
	"koguma/store/storetest"
	"koguma/testenv"
)

// startPostgres is a server that runs until the test ends.
func startPostgres(t testing.TB, settings ...string) *testenv.Postgres {
	t.Helper()
	p, err := testenv.NewPostgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Start(t.Context(), settings...); err != nil {
		t.Fatal(err)
	}
	return p
}

// newDatabase is an empty store on the server.
func newDatabase(t testing.TB, p *testenv.Postgres) store.PostgresConfig {
	t.Helper()
	return newDatabaseWith(t, p, func(*store.PostgresConfig) {})
}

// newDatabaseWith is that, for who opens it in another way.
func newDatabaseWith(t testing.TB, p *testenv.Postgres, change func(*store.PostgresConfig)) store.PostgresConfig {
	t.Helper()
	cfg, err := p.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	if _, _, err := store.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func openPostgres(t testing.TB, cfg store.PostgresConfig) store.Store {
	t.Helper()
	s, err := store.OpenPostgres(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	t.Run("alone", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return openPostgres(t, newDatabase(t, p)) })
	})
	t.Run("shared", func(t *testing.T) {
		storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
			cfg := newDatabase(t, p)
			return openPostgres(t, cfg), openPostgres(t, cfg)
		})
	})
}
