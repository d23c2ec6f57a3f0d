package store_test

import (
	"errors"
	"testing"

	"koguma/policy"
	"koguma/store"
)

// A fork has what its origin had, at the same versions, and neither sees what becomes of the other.
func TestFork(t *testing.T) {
	t.Parallel()
	mesh := func(name string) *policy.Mesh {
		return &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: name}}
	}
	origin := store.NewMemory()
	t.Cleanup(func() { origin.Close() })
	for _, name := range []string{"b", "a"} {
		if _, err := store.Put(t.Context(), origin, mesh(name)); err != nil {
			t.Fatal(err)
		}
	}
	fork, err := store.Fork(t.Context(), origin)
	if err != nil {
		t.Fatal(err)
	}
	a := mesh("a").Key()
	was, err := origin.Get(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	changed := mesh("a")
	changed.Labels = map[string]string{"x": "y"}
	if err := fork.Write(t.Context(), store.Op{Put: changed, Expect: int64(was.Metadata().Version)}, store.Op{Delete: mesh("b").Key(), Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), origin, mesh("c")); err != nil {
		t.Fatal(err)
	}
	now, err := origin.Get(t.Context(), a)
	if err != nil || now != was {
		t.Errorf("the origin has %+v, %v", now, err)
	}
	got, err := fork.Get(t.Context(), a)
	if err != nil || got.Metadata().Labels["x"] != "y" || !got.Metadata().CreationTime.Equal(was.Metadata().CreationTime) {
		t.Errorf("the fork has %+v, %v", got, err)
	}
	for _, name := range []string{"b", "c"} {
		if _, err := fork.Get(t.Context(), mesh(name).Key()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s in the fork: %v", name, err)
		}
	}
}

// An empty store can be forked as well.
func TestForkOfNothing(t *testing.T) {
	t.Parallel()
	origin := store.NewMemory()
	t.Cleanup(func() { origin.Close() })
	fork, err := store.Fork(t.Context(), origin)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := fork.List(t.Context(), policy.TypeMesh, ""); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}
