package store_test

import (
	"path/filepath"
	"testing"

	"koguma/policy"
	"koguma/store"
)

// Each write makes the version grow, a deletion too and after a restart as well; and a watch comes to it.
func TestVersionGrowsWithEachWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	var last uint64
	for range 2 {
		s, err := store.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Next(t.Context()); err != nil || w.Version() < last {
			t.Fatalf("it begins with version %d, and was %d, %v", w.Version(), last, err)
		}
		for _, op := range []store.Op{
			{Put: &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"}}, Expect: store.Any},
			{Delete: policy.Key{Type: policy.TypeMesh, Name: "default"}, Expect: store.Any},
		} {
			if err := s.Write(t.Context(), op); err != nil {
				t.Fatal(err)
			}
			now, err := store.Version(t.Context(), s)
			if err != nil || now <= last {
				t.Errorf("version %d after %d, %v", now, last, err)
			}
			if _, err := w.Next(t.Context()); err != nil || w.Version() != now {
				t.Errorf("the watch is at %d, and the store at %d, %v", w.Version(), now, err)
			}
			last = now
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
