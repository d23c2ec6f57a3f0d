package store

import (
	"context"
	"slices"
	"sync"

	"koguma/policy"
)

// Event is a resource as it has become. Resource is nil if it was deleted.
type Event struct {
	Key      policy.Key
	Resource policy.Resource
}

// Watch shows what is in a store and what changes in it. One goroutine at a time calls Next.
//
// It never holds up a writer: what changes while nobody calls Next waits, each resource only as it is by then, so a
// Watch that is slow grows no larger than the store.
type Watch struct {
	wake chan struct{} // has room for one value: Next should look again

	mu      sync.Mutex
	pending map[policy.Key]policy.Resource // what the next Next returns; nil: deleted
	newest  uint64                         // of the store, when pending was as it is
	taken   uint64                         // of the store, when pending was what Next returned last
	begun   bool                           // Next has returned what was there at first
	err     error                          // why the watch has ended
}

func newWatch() *Watch {
	return &Watch{wake: make(chan struct{}, 1), pending: map[policy.Key]policy.Resource{}}
}

// Next returns, at its first call, everything that is in the store, at once and even if that is nothing. Each later
// call waits for changes and returns them, sorted by key. What one Write changed is always in one call, and what was
// changed several times in between is there once, as it is now; a deletion may be of something that came and went
// unseen. Where the store knows of no change, and has come to a newer version all the same, it returns none.
//
// The error is ErrClosed, or that of ctx or the watch's own context. After an error of ctx alone, Next may be called
// again, and nothing is lost.
func (w *Watch) Next(ctx context.Context) ([]Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if events, err := w.take(); events != nil || err != nil {
			return events, err
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		}
	}
}

// take returns what is pending; nil if there is a reason to wait.
func (w *Watch) take() ([]Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	if w.begun && len(w.pending) == 0 && w.taken == w.newest {
		return nil, nil
	}
	w.begun = true
	events := make([]Event, 0, len(w.pending))
	for key, r := range w.pending {
		events = append(events, Event{key, r})
	}
	slices.SortFunc(events, func(a, b Event) int { return a.Key.Compare(b.Key) })
	w.pending = map[policy.Key]policy.Resource{}
	w.taken = w.newest
	return events, nil
}

// Version is the version that the store had when it was as Next has shown it last; 0 before that. Every write makes it
// grow, deletions too.
func (w *Watch) Version() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken
}

// push adds the changes that lead to a version to what is pending.
func (w *Watch) push(changes []change, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = version
	for _, ch := range changes {
		if ch.resource == nil && !w.begun {
			delete(w.pending, ch.key) // it is not among what there is at first
			continue
		}
		w.pending[ch.key] = ch.resource
	}
	w.signal()
}

// end makes every Next return err.
func (w *Watch) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.signal()
}

func (w *Watch) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it is to look again already
	}
}
