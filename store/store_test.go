package store_test

import (
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"koguma/store"
	"koguma/store/storetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() })
}

func TestFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return openFile(t, filepath.Join(t.TempDir(), "store.db")) })
}

func openFile(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Writes that wait for the same commit are done one after the other, each on top of those before it, and one that
// fails is no matter to the rest. What they change is there at once.
func TestWritesThatShareACommit(t *testing.T) {
	t.Parallel()
	s := openFile(t, filepath.Join(t.TempDir(), "store.db"))
	defer s.Close()
	put(t, s, proxy(0, "old"))
	w, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := int64(list(t, s, "Dataplane")[0].Metadata().Version)

	const writers = 10
	release, waiting := store.HoldCommits(s)
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			errs <- s.Write(t.Context(),
				store.Op{Put: proxy(100+i, "new")},
				store.Op{Put: proxy(0, strconv.Itoa(i)), Expect: old})
		}()
	}
	for waiting() < writers {
		time.Sleep(time.Millisecond)
	}
	release()
	won := 0
	for range writers {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("got error %v, want %v", err, store.ErrConflict)
		}
	}
	if won != 1 {
		t.Errorf("%d writers changed the same version, want 1", won)
	}
	events, err := w.Next(t.Context())
	if err != nil || len(events) != 2 || len(list(t, s, "Dataplane")) != 2 {
		t.Errorf("got events %v, error %v; want the two resources of the winner and no others", events, err)
	}
}
