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

func testOneWins(t *testing.T, s store.Store) {
	for round := range 20 {
		expect := store.Absent
		if round > 0 {
			expect = int64(get(t, s, key(labelled("a", ""))).Metadata().Version)
		}
		const writers = 8
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				errs[i] = s.Write(t.Context(), store.Op{Put: labelled("a", strconv.Itoa(round*writers+i)), Expect: expect})
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: both %d and %d won", round, winner, i)
			case err == nil:
				winner = i
			default:
				refused(t, "a loser", err, store.ErrConflict, key(labelled("a", "")))
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		if got, want := value(get(t, s, key(labelled("a", "")))), strconv.Itoa(round*writers+winner); got != want {
			t.Fatalf("round %d: the store has %s, the winner wrote %s", round, got, want)
		}
	}
}

// Many count in one resource, and take a number each.
func testNoLostWrites(t *testing.T, s store.Store) {
	put(t, s, labelled("count", "0"))
	const writers, each = 8, 10
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			for i := range each {
				if err := count(t, s, strconv.Itoa(w)+"-"+strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, want := value(get(t, s, key(labelled("count", "")))), strconv.Itoa(writers*each); got != want {
		t.Errorf("counted to %s, want %s", got, want)
	}
	numbers := map[string]bool{}
	for _, r := range list(t, s, policy.TypeSecret, "") {
		numbers[value(r)] = true
	}
	if got, want := len(numbers), writers*each; got != want { // the count itself is the last of the numbers
		t.Errorf("%d different numbers, want %d", got, want)
	}
}

// count adds one to the count, and keeps what it is then under name.
func count(t *testing.T, s store.Store, name string) error {
	for {
		old, err := s.Get(t.Context(), key(labelled("count", "")))
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(value(old))
		if err != nil {
			return err
		}
		err = s.Write(t.Context(),
			store.Op{Put: labelled("count", strconv.Itoa(n+1)), Expect: int64(old.Metadata().Version)},
			store.Op{Put: labelled(name, strconv.Itoa(n+1))})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func testPutCreates(t *testing.T, s store.Store) {
	for round := range 10 {
		const writers = 8
		created := make([]bool, writers)
		var g errgroup.Group
		for i := range writers {
			g.Go(func() (err error) {
				created[i], err = store.Put(t.Context(), s, labelled("a", strconv.Itoa(i)))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range created {
			if c {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d writers created the resource, want 1", round, n)
		}
		if err := store.Delete(t.Context(), s, key(labelled("a", ""))); err != nil {
			t.Fatal(err)
		}
	}
}
