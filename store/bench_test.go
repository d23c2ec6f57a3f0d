package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"koguma/policy"
	"koguma/store"
	"koguma/testenv"
)

func proxy(i int, version string) *policy.Dataplane {
	tags := map[string]string{policy.TagService: "service-" + strconv.Itoa(i%20), policy.TagProtocol: "http", "version": version}
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: fmt.Sprintf("proxy-%05d", i)}}
	d.Networking = policy.Networking{Address: "192.0.2.1", Inbound: []policy.Inbound{{Port: 8080, ServicePort: 80, Tags: tags}}}
	for j := range 5 {
		d.Networking.Outbound = append(d.Networking.Outbound,
			policy.Outbound{Port: 9000 + j, Tags: map[string]string{policy.TagService: "service-" + strconv.Itoa(j)}})
	}
	return d
}

// fill writes n resources in one commit.
func fill(b *testing.B, s store.Store, n int) {
	b.Helper()
	ops := make([]store.Op, n)
	for i := range ops {
		ops[i].Put = proxy(i, "0")
	}
	if err := s.Write(context.Background(), ops...); err != nil {
		b.Fatal(err)
	}
}

func stores(b *testing.B, run func(b *testing.B, s store.Store)) {
	b.Run("memory", func(b *testing.B) { run(b, store.NewMemory()) })
	b.Run("file", func(b *testing.B) {
		s := openFile(b, filepath.Join(b.TempDir(), "store.db"))
		defer s.Close()
		run(b, s)
	})
	b.Run("postgres", func(b *testing.B) {
		s := openPostgres(b, newDatabase(b, testenv.ServePostgres(b)))
		defer s.Close()
		run(b, s)
	})
}

// One writer, one change of a resource at a time.
func BenchmarkWrite(b *testing.B) {
	stores(b, func(b *testing.B, s store.Store) {
		fill(b, s, 1000)
		i := 0
		for b.Loop() {
			i++
			if err := s.Write(b.Context(), store.Op{Put: proxy(i%1000, strconv.Itoa(i)), Expect: store.Any}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A thousand writers at once, each with a resource of its own; one operation is all of them.
func BenchmarkWriteThousand(b *testing.B) {
	stores(b, func(b *testing.B, s store.Store) {
		fill(b, s, 1000)
		round := 0
		for b.Loop() {
			round++
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					if err := s.Write(b.Context(), store.Op{Put: proxy(i, strconv.Itoa(round)), Expect: store.Any}); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := store.NewMemory()
	fill(b, s, 10000)
	key := proxy(7777, "").Key()
	for b.Loop() {
		if _, err := s.Get(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	s := store.NewMemory()
	fill(b, s, 10000)
	for b.Loop() {
		if all, err := s.List(b.Context(), policy.TypeDataplane, "default"); len(all) != 10000 || err != nil {
			b.Fatal(len(all), err)
		}
	}
}

// A store with 10,000 resources is opened.
func BenchmarkOpen(b *testing.B) {
	measure := func(b *testing.B, open func() store.Store) {
		s := open()
		fill(b, s, 10000)
		for b.Loop() {
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			s = open()
		}
		s.Close()
	}
	b.Run("file", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "store.db")
		measure(b, func() store.Store { return openFile(b, path) })
	})
	b.Run("postgres", func(b *testing.B) {
		cfg := newDatabase(b, testenv.ServePostgres(b))
		measure(b, func() store.Store { return openPostgres(b, cfg) })
	})
}
