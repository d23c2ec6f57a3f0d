package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"koguma/policy"
	"koguma/store"
)

func watch(t *testing.T, s store.Store) *store.Watch {
	t.Helper()
	w, err := s.Watch(t.Context())
	if err != nil {
		t.Fatalf("watching: %v", err)
	}
	return w
}

func next(t *testing.T, w *store.Watch) []store.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	events, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("waiting for changes: %v", err)
	}
	return events
}

// quiet checks that the watch has nothing to say.
func quiet(t *testing.T, w *store.Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if events, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, error %v; want nothing until the deadline", said(events), err)
	}
}

func said(events []store.Event) []string {
	all := []string{}
	for _, e := range events {
		what := "deleted"
		if e.Resource != nil {
			what = value(e.Resource)
		}
		all = append(all, fmt.Sprintf("%s %s %s", e.Key.Type, e.Key.Name, what))
	}
	return all
}

func sees(t *testing.T, w *store.Watch, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), said(next(t, w))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func testWatchBegins(t *testing.T, s store.Store) {
	w := watch(t, s)
	sees(t, w)
	quiet(t, w)
	put(t, s, labelled("b", "1"), labelled("a", "1"), dataplane("default", "z"))
	w = watch(t, s)
	put(t, s, labelled("c", "1"), labelled("a", "2"))
	if err := store.Delete(t.Context(), s, key(labelled("b", ""))); err != nil {
		t.Fatal(err)
	}
	sees(t, w, "Dataplane z ", "Secret a 2", "Secret c 1") // as it is at the call, and no deletions
	quiet(t, w)
}

func testWatchChanges(t *testing.T, s store.Store) {
	put(t, s, labelled("a", "1"))
	w, other := watch(t, s), watch(t, s)
	sees(t, w, "Secret a 1")
	put(t, s, labelled("a", "2"))
	sees(t, w, "Secret a 2")
	write(t, s, store.Op{Put: labelled("c", "1")}, store.Op{Delete: key(labelled("a", "")), Expect: store.Any}, store.Op{Put: labelled("b", "1")})
	sees(t, w, "Secret a deleted", "Secret b 1", "Secret c 1")
	if err := s.Write(t.Context(), store.Op{Put: labelled("d", "1")}, store.Op{Put: labelled("b", "2")}); err == nil {
		t.Error("a bad write succeeded")
	}
	quiet(t, w)
	sees(t, other, "Secret b 1", "Secret c 1")

	// A resource that a watch shows is the one to be read, version and all.
	put(t, s, labelled("b", "3"))
	if events := next(t, w); len(events) != 1 || events[0].Resource != get(t, s, events[0].Key) {
		t.Errorf("got %v", said(events))
	}
}

func testWatchCoalesces(t *testing.T, s store.Store) {
	w := watch(t, s)
	sees(t, w)
	for i := range 100 { // nobody calls Next, and no writer waits for it
		put(t, s, labelled("a", strconv.Itoa(i)))
	}
	put(t, s, labelled("b", "1"))
	for _, name := range []string{"b", "a"} {
		if err := store.Delete(t.Context(), s, key(labelled(name, ""))); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, labelled("a", "again"))
	sees(t, w, "Secret a again", "Secret b deleted")
	quiet(t, w)
}

func testWatchEnds(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, s)
	cancel()
	for range 2 { // not before it got around: then there may still be something to see
		for err = nil; err == nil; {
			_, err = ended.Next(t.Context())
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a watch whose context ended: got error %v", err)
		}
	}
	if _, err := s.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a new watch with a context that has ended: got error %v", err)
	}
	put(t, s, labelled("a", "1")) // the ended watch is in nobody's way
	if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with a context that has ended: got error %v", err)
	}
	sees(t, w, "Secret a 1") // nothing was lost by that
	put(t, s, labelled("a", "2"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the store was closed: got error %v", err)
	}
}

func testWatchEndsWaiting(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, s)
	sees(t, w)
	sees(t, ended)
	errs := make(chan error, 1)
	go func() { _, err := ended.Next(t.Context()); errs <- err }()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("a watch whose context ended: got error %v", err)
	}
	go func() { _, err := w.Next(t.Context()); errs <- err }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, store.ErrClosed) {
		t.Errorf("the store was closed: got error %v", err)
	}
}

// While writers write pairs, which always say the same, and delete them, each watch, whenever it began, has a picture
// that is right: no half of a Write, nothing older after something newer, and in the end all there is.
func testWatchConsistent(t *testing.T, s store.Store) {
	const writers, each, watches = 4, 40, 4
	var writing, watching errgroup.Group
	for i := range writers {
		writing.Go(func() error { return writePairs(t, s, strconv.Itoa(i), each) })
	}
	for range watches {
		w := watch(t, s)
		watching.Go(func() error { return followPairs(t.Context(), s, w) })
	}
	if err := writing.Wait(); err != nil {
		t.Error(err)
	}
	put(t, s, labelled("end", ""))
	if err := watching.Wait(); err != nil {
		t.Error(err)
	}
}

func writePairs(t *testing.T, s store.Store, name string, n int) error {
	for i := range n {
		a, b := labelled(name+"-a", strconv.Itoa(i)), labelled(name+"-b", strconv.Itoa(i))
		ops := []store.Op{{Put: a, Expect: store.Any}, {Put: b, Expect: store.Any}}
		if i%5 == 3 {
			ops = []store.Op{{Delete: key(a), Expect: store.Any}, {Delete: key(b), Expect: store.Any}}
		}
		if err := s.Write(t.Context(), ops...); err != nil {
			return err
		}
	}
	return nil
}

// followPairs follows w until the resource "end" is there.
func followPairs(ctx context.Context, s store.Store, w *store.Watch) error {
	picture := map[policy.Key]policy.Resource{}
	newest := map[policy.Key]uint64{}
	for picture[key(labelled("end", ""))] == nil {
		events, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Resource == nil {
				delete(picture, e.Key)
				continue
			}
			if v := e.Resource.Metadata().Version; v <= newest[e.Key] {
				return fmt.Errorf("%s: version %d came after %d", e.Key, v, newest[e.Key])
			}
			picture[e.Key], newest[e.Key] = e.Resource, e.Resource.Metadata().Version
		}
		for i := range 4 {
			a, b := picture[key(labelled(strconv.Itoa(i)+"-a", ""))], picture[key(labelled(strconv.Itoa(i)+"-b", ""))]
			if (a == nil) != (b == nil) || a != nil && value(a) != value(b) {
				return fmt.Errorf("half of a write: %v, %v", a, b)
			}
		}
	}
	all, err := s.List(ctx, policy.TypeSecret, "")
	if err != nil {
		return err
	}
	if len(all) != len(picture) {
		return fmt.Errorf("the picture has %d resources, the store %d", len(picture), len(all))
	}
	for _, r := range all {
		if picture[key(r)] != r {
			return fmt.Errorf("%s: the picture has another", key(r))
		}
	}
	return nil
}
