package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"koguma/store"
	"koguma/testenv"
)

// rows are all records in a database, one a line.
func rows(t *testing.T, cfg store.PostgresConfig) []byte {
	t.Helper()
	c, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	c.Host, c.Port, c.User, c.Password, c.Database = cfg.Hosts[0].Name, uint16(cfg.Hosts[0].Port), cfg.User, string(cfg.Password), cfg.Database
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var all string
	const dump = "SELECT coalesce(string_agg(name || ' ' || convert_from(spec, 'UTF8'), E'\\n'), '') FROM resources"
	if err := conn.QueryRow(t.Context(), dump).Scan(&all); err != nil {
		t.Fatal(err)
	}
	return []byte(all)
}

func TestPostgresAtRest(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	for name, test := range map[string]func(*testing.T, *testenv.Postgres){
		"secrets are sealed, under another key while all go on": testRekeyPostgres,
		"one that has not the key says so":                      testMissingKeyPostgres,
		"a backup of a file moves in":                           testMoveToPostgres,
		"backups": func(t *testing.T, p *testenv.Postgres) {
			testBackups(t, func(t *testing.T) store.Store { return openPostgres(t, newDatabase(t, p)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func testRekeyPostgres(t *testing.T, p *testenv.Postgres) {
	text, forms := newKeyPEM(t)
	cfg := newDatabase(t, p)
	s := openPostgres(t, cfg)
	put(t, s, signingKey(text), newSecret("other", "x", text), proxy(1, "1"))
	before := contents(t, s)
	closeStore(t, s)
	if found(rows(t, cfg), forms) == nil {
		t.Fatal("the test shows nothing: the key is not in the database")
	}
	for i, letters := range [][]string{{"a"}, {"b", "a"}, {"b"}} {
		cfg.Keys = newKeys(t, letters...)
		s := openPostgres(t, cfg) // and at work meanwhile
		n, err := store.RekeyPostgres(t.Context(), cfg)
		if want := []int{2, 2, 0}[i]; err != nil || n != want {
			t.Errorf("with %q: got %d, error %v; want %d", letters, n, err, want)
		}
		if names := found(rows(t, cfg), forms); names != nil {
			t.Errorf("in the database there is %q", names)
		}
		if d := cmp.Diff(before, contents(t, s)); d != "" {
			t.Errorf("with %q (-before +after):\n%s", letters, d)
		}
		closeStore(t, s)
	}
	s = openPostgres(t, cfg)
	defer s.Close()
	if d := cmp.Diff(before, contents(t, s)); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
	put(t, s, signingKey("another"))
}

func testMissingKeyPostgres(t *testing.T, p *testenv.Postgres) {
	with := newDatabase(t, p)
	without := with
	with.Keys = newKeys(t, "a")
	a, b := openPostgres(t, with), openPostgres(t, without)
	defer a.Close()
	defer b.Close()
	put(t, a, signingKey("s3cret"))
	for deadline := time.Now().Add(10 * time.Second); b.Fault() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed")
		}
	}
	const want = "the key 3ba3f5f43b926026 is needed, and there is no key file"
	if err := b.Fault(); !strings.Contains(err.Error(), want) {
		t.Errorf("got fault %v, want one that says %q", err, want)
	}
	if _, err := store.Put(t.Context(), b, proxy(1, "1")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write: got error %v", err)
	}
	if _, err := store.OpenPostgres(context.WithoutCancel(t.Context()), without); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), want) {
		t.Errorf("opening: got error %v", err)
	}
	other := without
	other.Keys = newKeys(t, "b")
	if _, err := store.RekeyPostgres(t.Context(), other); !errors.Is(err, store.ErrSealed) {
		t.Errorf("rekeying: got error %v", err)
	}
	put(t, a, proxy(1, "1"))
}

func testMoveToPostgres(t *testing.T, p *testenv.Postgres) {
	path := filepath.Join(t.TempDir(), "store.db")
	file := openSealed(t, path, newKeys(t, "a"))
	writeAll(t, file)
	b := reread(t, newBackup(t, file))
	closeStore(t, file)
	cfg := newDatabase(t, p)
	cfg.Keys = newKeys(t, "c")
	into, other := openPostgres(t, cfg), openPostgres(t, cfg)
	defer into.Close()
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := other.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Restore(t.Context(), into, false); err != nil {
		t.Fatal(err)
	}
	if events, err := w.Next(ctx); err != nil || len(events) != len(b.Resources) {
		t.Errorf("another process saw %d changes, error %v; want %d", len(events), err, len(b.Resources))
	}
	checkRestored(t, other, b, b.Version)

	back := openFile(t, filepath.Join(t.TempDir(), "store.db"))
	defer back.Close()
	home := reread(t, newBackup(t, other))
	if _, err := home.Restore(t.Context(), back, false); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, back, b, home.Version)
}
