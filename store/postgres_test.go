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
	cfg, err := p.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
	storetest.Run(t, func(t *testing.T) store.Store { return openPostgres(t, newDatabase(t, p)) })
}
