package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
)

// eventually waits for what f says, for as long as is promised.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := testenv.Eventually(ctx, what, f); err != nil {
		t.Fatal(err)
	}
}

func inOrder(s store.Store) func() error { return s.Fault }

// faulty is nil when the store says why it takes no writes.
func faulty(s store.Store, want string) func() error {
	return func() error {
		if err := s.Fault(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("it says %v, want %q", err, want)
		}
		return nil
	}
}

func execSQL(t *testing.T, p *testenv.Postgres, database, sql string) {
	t.Helper()
	if err := p.Exec(t.Context(), database, sql); err != nil {
		t.Fatal(err)
	}
}

// follower is what a watch has shown so far.
type follower struct {
	t     *testing.T
	watch *store.Watch
	held  map[policy.Key]policy.Resource
}

func follow(t *testing.T, s store.Store) *follower {
	t.Helper()
	w, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &follower{t, w, map[policy.Key]policy.Resource{}}
}

// until follows the watch until these and no other proxies are there.
func (f *follower) until(names ...string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	for {
		events, err := f.watch.Next(ctx)
		if err != nil {
			f.t.Fatalf("%v; there are %v, want %q", err, f.held, names)
		}
		for _, e := range events {
			if e.Resource == nil {
				delete(f.held, e.Key)
				continue
			}
			if old := f.held[e.Key]; old != nil && old.Metadata().Version >= e.Resource.Metadata().Version {
				f.t.Errorf("%s came twice, or late", e.Key)
			}
			f.held[e.Key] = e.Resource
		}
		there := 0
		for _, name := range names {
			if f.held[policy.Key{Type: policy.TypeDataplane, Mesh: "default", Name: name}] != nil {
				there++
			}
		}
		if there == len(names) && there == len(f.held) {
			return
		}
	}
}

func name(i int) string { return proxy(i, "").Name }

// A Postgres that ends, or that is there and says nothing, is away: writes are refused, and soon, what was there is read on,
// and when it is back all goes on by itself, with nothing lost of what was acknowledged and no event twice.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	p := testenv.ServePostgres(t)
	s := openPostgres(t, newDatabase(t, p))
	defer closeStore(t, s)
	w := follow(t, s)
	put(t, s, proxy(0, "1"))
	w.until(name(0))

	away := func(i int, limit time.Duration) {
		t.Helper()
		begun := time.Now()
		defer func() {
			if o, ok := errors.AsType[*store.Outage](s.Fault()); !ok || o.AsOf.After(begun) || begun.Sub(o.AsOf) > 10*time.Second {
				t.Errorf("it was away from %v on, and says %+v", begun, o)
			}
		}()
		err := s.Write(t.Context(), store.Op{Put: proxy(i, "1"), Expect: store.Any})
		if took := time.Since(begun); !errors.Is(err, store.ErrUnavailable) || took > limit {
			t.Errorf("got error %v after %v", err, took)
		}
		if err != nil && strings.Contains(err.Error(), testenv.PostgresPassword) {
			t.Errorf("the error has the password: %v", err)
		}
		eventually(t, "the store to say so", faulty(s, ""))
		if _, err := s.Get(t.Context(), proxy(0, "").Key()); err != nil || len(list(t, s, policy.TypeDataplane)) == 0 {
			t.Errorf("what was there cannot be read: %v", err)
		}
		for range 3 { // now that it is known, nobody waits for it
			if err := s.Write(t.Context(), store.Op{Put: proxy(9, "1")}); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("got error %v", err)
			}
		}
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	away(1, time.Second)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(2, "1"))
	w.until(name(0), name(2))

	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	away(2, 6*time.Second)
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(2, "2"), proxy(3, "1"))
	w.until(name(0), name(2), name(3))
}

// A Postgres that is killed in the middle of many writes has all that were acknowledged, and of each of the others all or
// nothing, when it is back.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	p := testenv.ServePostgres(t)
	cfg := newDatabase(t, p)
	s := openPostgres(t, cfg)
	defer closeStore(t, s)
	var mu sync.Mutex
	written := map[int]bool{} // by whether it was acknowledged
	var g sync.WaitGroup
	for w := range 4 {
		g.Go(func() {
			for i := w; ; i += 10 { // in pairs
				err := s.Write(t.Context(), store.Op{Put: proxy(2*i, "1")}, store.Op{Put: proxy(2*i+1, "1")})
				mu.Lock()
				written[i] = err == nil
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // on a busy machine they take their time
	defer cancel()
	err := testenv.Eventually(ctx, "writes", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(written) < 200 {
			return fmt.Errorf("only %d", len(written))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	g.Wait()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(1e6, "1")) // by which it knows all there is
	fresh := openPostgres(t, cfg)
	defer closeStore(t, fresh)
	for _, each := range []store.Store{s, fresh} {
		there := map[string]bool{}
		for _, r := range list(t, each, policy.TypeDataplane) {
			there[r.Metadata().Name] = true
		}
		for i, acknowledged := range written {
			if a, b := there[name(2*i)], there[name(2*i+1)]; a != b || acknowledged && !a {
				t.Errorf("write %d, acknowledged %v, is there by %v and %v", i, acknowledged, a, b)
			}
		}
	}
}

// wire is a way to a server that can be cut.
type wire struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, server: server}
	var g sync.WaitGroup
	g.Go(func() { w.serve(&g) })
	t.Cleanup(func() { l.Close(); w.set(true); g.Wait() })
	return w
}

func (w *wire) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

func (w *wire) serve(g *sync.WaitGroup) {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.server)
		w.mu.Lock()
		if err != nil || w.cut {
			in.Close()
			if err == nil {
				out.Close()
			}
		} else {
			w.conns = append(w.conns, in, out)
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				g.Go(func() { io.Copy(pair[0], pair[1]); pair[0].Close() })
			}
		}
		w.mu.Unlock()
	}
}

// set cuts the wire, or puts it together.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// Who was away while others wrote gets to know all of it, also deletions that the database has forgotten since.
func TestPostgresOthersWroteMeanwhile(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	for _, forgotten := range []bool{false, true} {
		t.Run("forgotten="+strconv.FormatBool(forgotten), func(t *testing.T) {
			cfg := newDatabase(t, p)
			here := openPostgres(t, cfg)
			defer closeStore(t, here)
			way := newWire(t, net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
			far := cfg
			far.Hosts = []store.PostgresHost{{Name: "127.0.0.1", Port: way.port()}}
			there := openPostgres(t, far)
			defer closeStore(t, there)
			w := follow(t, there)
			put(t, here, proxy(0, "1"), proxy(1, "1"))
			w.until(name(0), name(1))

			way.set(true)
			eventually(t, "the store to say that it is alone", faulty(there, ""))
			if err := store.Delete(t.Context(), here, proxy(0, "").Key()); err != nil {
				t.Fatal(err)
			}
			if forgotten {
				execSQL(t, p, cfg.Database, "UPDATE resources SET deleted = now() - interval '2 hours' WHERE deleted IS NOT NULL")
			}
			put(t, here, proxy(2, "1"))
			way.set(false)
			w.until(name(1), name(2))
			eventually(t, "the store to be back", inOrder(there))
			put(t, there, proxy(3, "1"))
			w.until(name(1), name(2), name(3))
		})
	}
	t.Run("a notification is lost", func(t *testing.T) {
		cfg := newDatabase(t, p)
		s := openPostgres(t, cfg)
		defer closeStore(t, s)
		w := follow(t, s)
		put(t, s, proxy(0, "1"), proxy(1, "1"))
		w.until(name(0), name(1))
		deleteUnheard(t, p, cfg.Database, name(0))
		w.until(name(1))
	})
	t.Run("what they wrote is gone", func(t *testing.T) {
		cfg := newDatabase(t, p)
		s := openPostgres(t, cfg)
		defer closeStore(t, s)
		w := follow(t, s)
		put(t, s, proxy(0, "1"))
		w.until(name(0))
		execSQL(t, p, cfg.Database, "UPDATE store_version SET version = version + 10")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if events, err := w.watch.Next(ctx); len(events) > 0 || err != nil || w.watch.Version() != 11 {
			t.Errorf("got %v and version %d, %v, want nothing and 11", events, w.watch.Version(), err)
		}
	})
}

// deleteUnheard deletes a resource, and tells nobody.
func deleteUnheard(t *testing.T, p *testenv.Postgres, database, name string) {
	t.Helper()
	execSQL(t, p, database, `UPDATE store_version SET version = version + 1;
		UPDATE resources SET spec = NULL, deleted = now(), version = (SELECT version FROM store_version) WHERE name = '`+name+`'`)
}

// A server that takes no writes is not taken for one that does.
func TestPostgresTakesNoWrites(t *testing.T) {
	t.Parallel()
	p := shared.get(t)
	hangUp := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'koguma' AND datname = '"

	cfg := newDatabase(t, p)
	s := openPostgres(t, cfg)
	defer closeStore(t, s)
	put(t, s, proxy(0, "1"))
	execSQL(t, p, "postgres", "ALTER DATABASE "+cfg.Database+" SET default_transaction_read_only = on; "+hangUp+cfg.Database+"'")
	eventually(t, "the store to say so", faulty(s, "read only"))
	execSQL(t, p, "postgres", "ALTER DATABASE "+cfg.Database+" RESET default_transaction_read_only")
	eventually(t, "the store to be back", inOrder(s))
	put(t, s, proxy(0, "2"), proxy(1, "1"))

	execSQL(t, p, cfg.Database, "REVOKE UPDATE ON store_version FROM kuma")
	if err := s.Write(t.Context(), store.Op{Put: proxy(2, "1")}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got error %v", err)
	}
	begun := time.Now()
	time.Sleep(1500 * time.Millisecond) // that it can be read still is no reason to believe that it takes writes
	if err := faulty(s, "permission denied")(); err != nil {
		t.Error(err)
	}
	eventually(t, "what can be read to be known as new", func() error {
		if o, ok := errors.AsType[*store.Outage](s.Fault()); !ok || o.AsOf.Before(begun) {
			return fmt.Errorf("it says %+v", o)
		}
		return nil
	})
	execSQL(t, p, cfg.Database, "GRANT UPDATE ON store_version TO kuma")
	eventually(t, "the store to be back", inOrder(s))

	execSQL(t, p, cfg.Database, `UPDATE resources SET version = 200, spec = '{"version":200}' WHERE name = '`+name(1)+`'; UPDATE store_version SET version = 200`)
	eventually(t, "the store to say what it cannot read", faulty(s, `Dataplane "`+name(1)+`"`))
	if _, err := store.OpenPostgres(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name(1)) {
		t.Errorf("it is opened, and cannot be read: %v", err)
	}
}
