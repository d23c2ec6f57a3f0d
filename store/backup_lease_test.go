package store_test

import (
	"testing"

	"koguma/policy"
	"koguma/store"
)

// A restore leaves the leases of control planes alone: those that work on the store go on, and none comes back.
func TestRestoreLeavesLeases(t *testing.T) {
	t.Parallel()
	lease := func(name string) *policy.ControlPlane {
		return &policy.ControlPlane{Meta: policy.Meta{Type: policy.TypeControlPlane, Name: name}, Address: "10.0.0.1:5683"}
	}
	mesh := &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"}}
	from, to := store.NewMemory(), store.NewMemory()
	defer from.Close()
	defer to.Close()
	for s, r := range map[store.Store]policy.Resource{from: lease("old"), to: lease("new")} {
		if err := s.Write(t.Context(), store.Op{Put: r}, store.Op{Put: mesh}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := store.NewBackup(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Restore(t.Context(), to, true); err != nil {
		t.Fatal(err)
	}
	all, err := to.List(t.Context(), policy.TypeControlPlane, "")
	if err != nil || len(all) != 1 || all[0].Metadata().Name != "new" {
		t.Errorf("the leases are %v, %v; want the one of before", all, err)
	}
}
