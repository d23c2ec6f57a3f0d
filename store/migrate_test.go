package store_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"koguma/store"
	"koguma/testenv"
)

// notOpened checks that the store cannot be opened, and that the error says so.
func notOpened(t *testing.T, cfg store.PostgresConfig, want string) error {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), cfg)
	if err == nil {
		s.Close()
		t.Fatalf("it was opened, want an error that says %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got error %q, want it to say %q", err, want)
	}
	return err
}

// The schema is made once, however many make it at a time, and nothing is lost by making it again.
func TestMigrate(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	cfg, err := p.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	notOpened(t, cfg, "run kuma-cp migrate up")
	made := make([]bool, 5)
	var g errgroup.Group
	for i := range made {
		g.Go(func() error {
			from, to, err := store.Migrate(t.Context(), cfg)
			made[i] = from == 0
			if err == nil && to != 1 {
				err = fmt.Errorf("the schema is at version %d", to)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(fmt.Sprint(made), "true"); n != 1 {
		t.Errorf("%d of 5 made the schema, want 1", n)
	}
	s := openPostgres(t, cfg)
	put(t, s, proxy(0, "1"))
	closeStore(t, s)
	if from, to, err := store.Migrate(t.Context(), cfg); from != 1 || to != 1 || err != nil {
		t.Errorf("got %d to %d, error %v", from, to, err)
	}
	s = openPostgres(t, cfg)
	if got := len(list(t, s, "Dataplane")); got != 1 {
		t.Errorf("%d resources, want 1", got)
	}
	closeStore(t, s)
}

// What is not ours, or newer than we are, is left alone.
func TestMigrateRefusals(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	for sql, want := range map[string]string{
		"CREATE TABLE resources (name text)":                                                         "in use by something else",
		"CREATE TABLE schema_version (version integer); INSERT INTO schema_version VALUES (2)":       "run one that is as new",
		"REVOKE ALL ON SCHEMA public FROM public; ALTER DATABASE kuma3 SET search_path = pg_catalog": "permission denied",
	} {
		cfg, err := p.NewDatabase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		execSQL(t, p, cfg.Database, strings.ReplaceAll(sql, "kuma3", cfg.Database)+"; GRANT ALL ON ALL TABLES IN SCHEMA public TO kuma")
		if _, _, err := store.Migrate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want it to say %q", sql, err, want)
		}
		if strings.Contains(sql, "schema_version") {
			notOpened(t, cfg, want)
		}
	}
}

// A password shows nowhere but to Postgres.
func TestPasswordIsHidden(t *testing.T) {
	t.Parallel()
	cfg := store.PostgresConfig{Password: testenv.PostgresPassword}
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "password", cfg.Password, "cfg", cfg)
	for _, text := range []string{string(data), log.String(), fmt.Sprintf("%v %+v %#v %q %x %s", cfg, cfg, cfg, cfg.Password, cfg.Password, cfg.Password)} {
		if strings.Contains(text, "let me in") || strings.Contains(text, fmt.Sprintf("%x", "let me in")) {
			t.Errorf("it is in %s", text)
		}
	}
}
