package testenv_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
)

// A control plane is started, until it is ready, on a store with 10,000 Dataplanes and 1,000 permissions. That kumactl is
// told of it, 10 ms, is in there.
func BenchmarkStart(b *testing.B) {
	b.Run("file", func(b *testing.B) {
		dir := workDir(b)
		s, err := store.OpenFile(filepath.Join(dir, "koguma.db"))
		if err != nil {
			b.Fatal(err)
		}
		fill(b, s)
		measureStart(b, dir)
	})
	b.Run("postgres", func(b *testing.B) {
		measureStart(b, workDir(b), testenv.PostgresEnv(largePostgres(b))...)
	})
}

// largePostgres is a database with a large mesh in it, of a server that runs until the benchmark ends.
func largePostgres(b *testing.B) store.PostgresConfig {
	b.Helper()
	p, err := testenv.NewPostgres(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	if err := p.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	cfg, err := p.NewDatabase(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := store.Migrate(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	s, err := store.OpenPostgres(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s)
	return cfg
}

func workDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "koguma-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fill writes what a large mesh has, and closes the store.
func fill(b *testing.B, s store.Store) {
	b.Helper()
	ops := []store.Op{{Put: &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"}}}}
	service := func(i int) map[string]string {
		return map[string]string{policy.TagService: fmt.Sprint("service-", i%500)}
	}
	for i := range 10000 {
		d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: fmt.Sprint("proxy-", i)}}
		d.Networking = policy.Networking{
			Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), Inbound: []policy.Inbound{{Port: 8080, Tags: service(i)}},
			Outbound: []policy.Outbound{{Port: 9000, Tags: service(i + 1)}, {Port: 9001, Tags: service(i + 2)}},
		}
		ops = append(ops, store.Op{Put: d})
	}
	for i := range 1000 {
		ops = append(ops, store.Op{Put: &policy.TrafficPermission{
			Meta:    policy.Meta{Type: policy.TypeTrafficPermission, Mesh: "default", Name: fmt.Sprint("permission-", i)},
			Sources: []policy.Selector{{Match: service(i)}}, Destinations: []policy.Selector{{Match: service(i / 2)}},
		}})
	}
	if err := s.Write(context.Background(), ops...); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func measureStart(b *testing.B, dir string, env ...string) {
	b.Helper()
	for b.Loop() {
		cp, err := testenv.StartControlPlane(b.Context(), dir, env...)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := cp.Stop(10 * time.Second); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
