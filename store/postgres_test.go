package store_test

import (
	"context"
	"sync"
	"testing"

	"koguma/store"
	"koguma/store/storetest"
	"koguma/testenv"
)

// shared is for the tests that do a server no harm.
var shared sharedPostgres

// sharedPostgres is a server that runs from the first that asks for it until close.
type sharedPostgres struct {
	once   sync.Once
	server *testenv.Postgres
	err    error
}

func (s *sharedPostgres) get(t *testing.T) *testenv.Postgres {
	t.Helper()
	s.once.Do(func() {
		if s.server, s.err = testenv.NewPostgres(context.Background()); s.err == nil {
			s.err = s.server.Start(context.Background())
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

func (s *sharedPostgres) close() error {
	if s.server == nil {
		return nil
	}
	return s.server.Close()
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
	p := shared.get(t)
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
