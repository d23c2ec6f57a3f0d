package storetest

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"koguma/policy"
	"koguma/store"
)

// RunShared tests two stores, such as two processes have them open, that hold the same. Each time open returns an empty one,
// twice, which the suite closes.
func RunShared(t *testing.T, open func(t *testing.T) (a, b store.Store)) {
	tests := []struct {
		name string
		test func(t *testing.T, a, b store.Store)
	}{
		{"a watch sees what others change", testWatchOthers},
		{"what was written elsewhere counts", testSharedExpectations},
		{"of writers to both exactly one wins", testOneOfBothWins},
		{"no write is lost among many to both", testNoLostWritesToBoth},
		{"every watch misses nothing and keeps the order", testSharedConsistent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			defer func() {
				if err := errors.Join(a.Close(), b.Close()); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			tt.test(t, a, b)
		})
	}
}

func testWatchOthers(t *testing.T, a, b store.Store) {
	w := watch(t, b)
	sees(t, w)
	write(t, a, store.Op{Put: labelled("x", "1")}, store.Op{Put: labelled("y", "1")})
	sees(t, w, "Secret x 1", "Secret y 1")
	write(t, a, store.Op{Delete: key(labelled("x", "")), Expect: store.Any}, store.Op{Put: labelled("y", "2"), Expect: store.Any})
	sees(t, w, "Secret x deleted", "Secret y 2")
	if d := diff(get(t, a, key(labelled("y", ""))), get(t, b, key(labelled("y", "")))); d != "" {
		t.Errorf("they hold different things %s", d)
	}
	if va, vb := get(t, a, key(labelled("y", ""))).Metadata(), get(t, b, key(labelled("y", ""))).Metadata(); va.Version != vb.Version ||
		!va.CreationTime.Equal(vb.CreationTime) || !va.ModificationTime.Equal(vb.ModificationTime) {
		t.Errorf("one has %+v, the other %+v", va, vb)
	}
	quiet(t, w)
}

// A Write is judged by all that was written before it, whether or not its own store has heard of that.
func testSharedExpectations(t *testing.T, a, b store.Store) {
	var last uint64
	for i := range 20 {
		name := "n" + strconv.Itoa(i)
		write(t, a, store.Op{Put: labelled(name, "a")})
		refused(t, "creating what the other has", b.Write(t.Context(), store.Op{Put: labelled(name, "b")}), store.ErrConflict, key(labelled(name, "")))
		version := get(t, b, key(labelled(name, ""))).Metadata().Version // a conflict tells what it is about
		if version <= last {
			t.Fatalf("version %d came after %d", version, last)
		}
		write(t, b, store.Op{Put: labelled(name, "b"), Expect: int64(version)})
		last = get(t, b, key(labelled(name, ""))).Metadata().Version
		if last <= version {
			t.Fatalf("version %d came after %d", last, version)
		}
		refused(t, "changing what the other changed", a.Write(t.Context(), store.Op{Put: labelled(name, "c"), Expect: int64(version)}),
			store.ErrConflict, key(labelled(name, "")))
		if err := store.Delete(t.Context(), a, key(labelled(name, ""))); err != nil {
			t.Fatal(err)
		}
		refused(t, "deleting what the other deleted", store.Delete(t.Context(), b, key(labelled(name, ""))), store.ErrNotFound, key(labelled(name, "")))
	}
}

func testOneOfBothWins(t *testing.T, a, b store.Store) {
	for round := range 20 {
		stores := []store.Store{a, b, a, b, a, b}
		k := key(labelled("n"+strconv.Itoa(round), ""))
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() { errs[i] = s.Write(t.Context(), store.Op{Put: labelled(k.Name, strconv.Itoa(i))}) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err != nil:
				refused(t, "a loser", err, store.ErrConflict, k)
			case winner >= 0:
				t.Fatalf("round %d: both %d and %d won", round, winner, i)
			default:
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		if got, want := value(get(t, stores[winner], k)), strconv.Itoa(winner); got != want {
			t.Fatalf("round %d: the store has %s, the winner wrote %s", round, got, want)
		}
	}
}

func testNoLostWritesToBoth(t *testing.T, a, b store.Store) {
	w := watch(t, b)
	sees(t, w)
	put(t, a, labelled("count", "0"))
	sees(t, w, "Secret count 0")
	const writers, each = 3, 10
	var g errgroup.Group
	for i := range writers {
		for j, s := range []store.Store{a, b} {
			g.Go(func() error {
				for n := range each {
					if err := count(t, s, strconv.Itoa(i)+"-"+strconv.Itoa(j)+"-"+strconv.Itoa(n)); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []store.Store{a, b} {
		put(t, s, labelled("end", "")) // and with it, each knows all
		if got, want := value(get(t, s, key(labelled("count", "")))), strconv.Itoa(2*writers*each); got != want {
			t.Errorf("counted to %s, want %s", got, want)
		}
		numbers := map[string]bool{}
		for _, r := range list(t, s, policy.TypeSecret, "") {
			numbers[value(r)] = true
		}
		if got, want := len(numbers), 2*writers*each+1; got != want { // and that of the end
			t.Errorf("%d different numbers, want %d", got, want)
		}
	}
}

// As testWatchConsistent, with writers to both and watches of both.
func testSharedConsistent(t *testing.T, a, b store.Store) {
	const each = 40
	stores := []store.Store{a, b}
	var writing, watching errgroup.Group
	for i := range 4 {
		writing.Go(func() error { return writePairs(t, stores[i%2], strconv.Itoa(i), each) })
		w := watch(t, stores[i%2])
		watching.Go(func() error { return followPairs(t.Context(), stores[i%2], w) })
	}
	if err := writing.Wait(); err != nil {
		t.Error(err)
	}
	put(t, a, labelled("end", ""))
	if err := watching.Wait(); err != nil {
		t.Error(err)
	}
}
