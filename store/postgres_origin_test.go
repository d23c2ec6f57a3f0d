package store_test

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"

	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
)

// values are what the proxies in a store say, by their names.
func values(t *testing.T, s store.Store) string {
	t.Helper()
	var all []string
	for _, r := range list(t, s, policy.TypeDataplane) {
		all = append(all, r.Metadata().Name+"="+r.(*policy.Dataplane).Networking.Inbound[0].Tags["version"])
	}
	return strings.Join(all, " ")
}

func versionOf(t *testing.T, s store.Store) uint64 {
	t.Helper()
	v, err := store.Version(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A database that is not what it was when it was last seen is gone on with as it is.
func TestPostgresRestored(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	t.Run("put back", func(t *testing.T) { testPutBack(t, p) })
	t.Run("replaced", func(t *testing.T) { testReplaced(t, p) })
}

// After a database was put back to what it was, what it holds is what counts, in every process and for every watch, as one more
// change: no version that was seen comes again.
func testPutBack(t *testing.T, p *testenv.Postgres) {
	t.Parallel()
	cfg := newDatabase(t, p)
	var log lines
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	a, b := openPostgres(t, cfg), openPostgres(t, cfg)
	defer closeStore(t, a)
	defer closeStore(t, b)
	followers := []*follower{follow(t, a), follow(t, b)}
	put(t, a, proxy(0, "1"), proxy(1, "1"), proxy(2, "1"))
	then := values(t, a)
	execSQL(t, p, cfg.Database, "CREATE TABLE earlier AS SELECT * FROM resources")
	put(t, a, proxy(0, "2"), proxy(3, "1"))
	if err := store.Delete(t.Context(), a, proxy(1, "").Key()); err != nil {
		t.Fatal(err)
	}
	for _, f := range followers {
		f.until(name(0), name(2), name(3))
	}
	seen := versionOf(t, a)

	execSQL(t, p, cfg.Database, `DELETE FROM resources; INSERT INTO resources SELECT * FROM earlier;
		UPDATE store_version SET version = (SELECT max(version) FROM earlier)`)
	for _, f := range followers {
		f.until(name(0), name(1), name(2))
	}
	put(t, b, proxy(4, "1"))
	followers[0].until(name(0), name(1), name(2), name(4))
	fresh := openPostgres(t, cfg)
	defer closeStore(t, fresh)
	for _, s := range []store.Store{a, b, fresh} {
		if got, want := values(t, s), then+" "+name(4)+"=1"; got != want {
			t.Errorf("there is %s, want %s", got, want)
		}
		if v := versionOf(t, s); v <= seen {
			t.Errorf("version %d came after %d", v, seen)
		}
		for _, i := range []int{0, 1, 4} { // what was changed since, or made
			if r, err := s.Get(t.Context(), proxy(i, "").Key()); err != nil || r.Metadata().Version <= seen {
				t.Errorf("proxy %d is %+v, %v; version %d was seen", i, r, err, seen)
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "lost what was there") || !strings.Contains(text, fmt.Sprint("seen=", seen, " there=3 older=3")) {
		t.Errorf("the log does not say what happened: %q", text)
	}
}

// Another database under the same name is told from the one that was there, even if it has come further. One that is empty is
// not taken for what is meant.
func testReplaced(t *testing.T, p *testenv.Postgres) {
	t.Parallel()
	cfg := newDatabase(t, p)
	s := openPostgres(t, cfg)
	put(t, s, proxy(0, "1"), proxy(1, "1"))
	closeStore(t, s)
	execSQL(t, p, "postgres", "CREATE DATABASE "+cfg.Database+"_then TEMPLATE "+cfg.Database)

	way := newWire(t, net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
	far := cfg
	far.Hosts = []store.PostgresHost{{Name: "127.0.0.1", Port: way.port()}}
	s = openPostgres(t, far)
	defer closeStore(t, s)
	w := follow(t, s)
	put(t, s, proxy(0, "2"), proxy(2, "1"))
	w.until(name(0), name(1), name(2))
	way.set(true)
	eventually(t, "the store to say that it is alone", faulty(s, ""))
	execSQL(t, p, "postgres", "DROP DATABASE "+cfg.Database)
	execSQL(t, p, "postgres", "CREATE DATABASE "+cfg.Database+" OWNER kuma")
	if _, _, err := store.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	way.set(false)
	eventually(t, "the store to say that it is empty", faulty(s, "nothing in it"))
	if got := len(list(t, s, policy.TypeDataplane)); got != 3 {
		t.Errorf("%d resources are there, want 3", got)
	}
	way.set(true)
	for _, sql := range []string{"DROP DATABASE " + cfg.Database, "CREATE DATABASE " + cfg.Database + " TEMPLATE " + cfg.Database + "_then"} {
		execSQL(t, p, "postgres", sql)
	}
	other := openPostgres(t, cfg)
	defer closeStore(t, other)
	for i := range 10 {
		put(t, other, proxy(3, strconv.Itoa(i)))
	}
	seen := versionOf(t, other)
	way.set(false)
	w.until(name(0), name(1), name(3))
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(4, "1"))
	want := fmt.Sprintf("%s=1 %s=1 %s=9 %s=1", name(0), name(1), name(3), name(4))
	for _, each := range []store.Store{s, other} {
		eventually(t, "both to have the same", func() error {
			if got := values(t, each); got != want {
				return fmt.Errorf("there is %s, want %s", got, want)
			}
			return nil
		})
		if v := versionOf(t, each); v <= seen {
			t.Errorf("version %d came after %d", v, seen)
		}
	}
}

// Of several hosts, the store is at the one that takes writes, and goes to another when that is gone.
func TestPostgresHosts(t *testing.T) {
	t.Parallel()
	var hosts []store.PostgresHost
	var cfg store.PostgresConfig
	var servers []*testenv.Postgres
	for range 2 {
		p := testenv.ServePostgres(t)
		cfg = newDatabase(t, p)
		s := openPostgres(t, cfg)
		put(t, s, proxy(9, "1"))
		closeStore(t, s)
		hosts, servers = append(hosts, cfg.Hosts...), append(servers, p)
	}
	const readOnly = "ALTER DATABASE kuma1 SET default_transaction_read_only = "
	execSQL(t, servers[0], "postgres", readOnly+"on")
	cfg.Hosts = hosts
	s := openPostgres(t, cfg)
	defer closeStore(t, s)
	put(t, s, proxy(0, "1"))
	if err := servers[1].Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store to name all hosts", func() error {
		for _, h := range hosts {
			if err := faulty(s, fmt.Sprint(h.Name, ":", h.Port))(); err != nil {
				return err
			}
		}
		return nil
	})
	execSQL(t, servers[0], "postgres", readOnly+"off")
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(1, "1"))
	if got, want := values(t, s), name(1)+"=1 "+name(9)+"=1"; got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
}
