// Package store keeps the resources of a mesh: in memory ([NewMemory]), in a file that outlives the process ([OpenFile]),
// or in a Postgres that several processes share ([OpenPostgres]).
//
// All give the same promises. A [Store.Write] happens wholly or not at all, and has happened for good when it returns
// nil. Versions only grow: one counter serves all resources of a store, so that no version comes twice, not even when
// a name is deleted and used again. A [Watch] shows every change there is, or what is left of it: nothing is missed,
// and nothing older follows something newer.
//
// Resources are shared between the store, its readers and its writers, and nobody changes one: neither after it was
// given to Write, nor when it came from Get, List or Next. The store keeps a copy of its own, read back from the JSON
// that it wrote, so that what it serves is what it will serve after a restart.
//
// What may be written, the store does not judge: [policy.Resource.Validate] does, before.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"koguma/policy"
)

// The errors that callers tell apart, with [errors.Is]. What wraps them names the resource, or the file.
var (
	// ErrNotFound says that there is no such resource.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that a resource was not as the writer expected. Who gets it reads again, and decides again.
	ErrConflict = errors.New("conflict")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrUnavailable says that what the store is kept in does not answer, or takes no writes. It comes back by itself.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrInUse says that another process has the file open.
	ErrInUse = errors.New("in use")
)

// What an [Op] may expect, beside a version.
const (
	Any    int64 = -1 // whatever is there, or nothing
	Absent int64 = 0  // nothing
)

// Op is one step of a Write: exactly one of Put and Delete is set.
//
// Expect is what must be there now: a version, Absent or Any. A Delete may not expect Absent, and a Delete of what is
// not there is an ErrNotFound if it expects Any.
type Op struct {
	Put    policy.Resource
	Delete policy.Key
	Expect int64

	// restore is set for what comes from a [Backup]. Then a Put happens even if it changes nothing, and keeps its times. Its
	// version, as that of a Delete, is greater than this.
	restore uint64
}

// Store keeps resources. Its methods may be called from several goroutines at once.
type Store interface {
	// Get returns the resource, or an ErrNotFound that names it.
	Get(ctx context.Context, key policy.Key) (policy.Resource, error)

	// List returns the resources of a type and mesh, sorted by key; an empty mesh stands for all meshes. The slice is
	// the caller's, the resources are shared.
	List(ctx context.Context, t policy.Type, mesh string) ([]policy.Resource, error)

	// Write does all of ops, in order, or nothing and returns an error: ErrNotFound or ErrConflict naming the first
	// that failed. The store sets Version, CreationTime and ModificationTime; what the resource says of them is
	// ignored. A Put of what is there already ([Same]) changes nothing and wakes nobody.
	//
	// Writers that come at the same time share one commit. A Write that has begun is not called off when ctx ends,
	// because then nobody could say whether it happened. An error that is neither of the two may, after a restart,
	// turn out to have been a success.
	Write(ctx context.Context, ops ...Op) error

	// Watch begins to watch everything in the store, until ctx ends or the store is closed.
	Watch(ctx context.Context) (*Watch, error)

	// Fault is why no Write is taken at present, an ErrUnavailable and an [Outage]; nil if nothing is known that is in the way.
	// Get, List and Watch go on with what there was.
	Fault() error

	// Close waits for the Write that is going on, ends every Watch with ErrClosed, and lets go of the file. All later
	// calls return ErrClosed, but for Close itself, which returns nil.
	Close() error
}

// Put writes r whatever is there, and reports whether there was nothing.
func Put(ctx context.Context, s Store, r policy.Resource) (created bool, err error) {
	for {
		expect := Absent
		old, err := s.Get(ctx, r.Metadata().Key())
		switch {
		case err == nil:
			expect = int64(old.Metadata().Version)
		case !errors.Is(err, ErrNotFound):
			return false, err
		}
		err = s.Write(ctx, Op{Put: r, Expect: expect})
		if errors.Is(err, ErrConflict) {
			continue // somebody else got in between; the last one wins, and this one has not been yet
		}
		return err == nil && expect == Absent, err
	}
}

// Delete removes the resource, or returns an ErrNotFound that names it.
func Delete(ctx context.Context, s Store, key policy.Key) error {
	return s.Write(ctx, Op{Delete: key, Expect: Any})
}

// Same reports whether a and b say the same, whatever the store has set in them.
func Same(a, b policy.Resource) bool {
	x, err := encode(stamped(a, 0, time.Time{}, time.Time{}))
	if err != nil {
		return false
	}
	y, err := encode(stamped(b, 0, time.Time{}, time.Time{}))
	return err == nil && bytes.Equal(x, y)
}

// stamped is a copy of r with what the store sets. It shares everything else with r.
func stamped(r policy.Resource, version uint64, created, modified time.Time) policy.Resource {
	c := reflect.New(reflect.TypeOf(r).Elem())
	c.Elem().Set(reflect.ValueOf(r).Elem())
	r = c.Interface().(policy.Resource)
	m := r.Metadata()
	m.Version, m.CreationTime, m.ModificationTime = version, created, modified
	return r
}

// key is the key that the op is about, once the op itself makes sense.
func (o Op) key() (policy.Key, error) {
	key := o.Delete
	switch {
	case o.Put != nil && key != (policy.Key{}):
		return key, fmt.Errorf("store: one Op both puts %s and deletes %s", o.Put.Metadata().Key(), key)
	case o.Put != nil:
		key = o.Put.Metadata().Key()
	case key == (policy.Key{}):
		return key, errors.New("store: an Op neither puts nor deletes")
	case o.Expect == Absent:
		return key, fmt.Errorf("store: %s cannot be deleted and expected to be absent", key)
	}
	return key, checkKey(key, o.Put)
}

// check compares what is there, nil for nothing, with what the op expects.
func (o Op) check(key policy.Key, old policy.Resource) error {
	switch {
	case old == nil && o.Put == nil && o.Expect == Any:
		return fmt.Errorf("%s: %w", key, ErrNotFound)
	case o.Expect == Any, old == nil && o.Expect == Absent:
		return nil
	case old == nil:
		return fmt.Errorf("%s: %w: it is gone, and was expected at version %d", key, ErrConflict, o.Expect)
	case o.Expect == Absent:
		return fmt.Errorf("%s: %w: it exists already", key, ErrConflict)
	}
	if v := old.Metadata().Version; v != uint64(o.Expect) {
		return fmt.Errorf("%s: %w: it is at version %d, and was expected at %d", key, ErrConflict, v, o.Expect)
	}
	return nil
}
