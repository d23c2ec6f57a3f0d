package registry_test

import (
	"strings"
	"testing"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// firstKey is the first signing key of the default mesh.
func firstKey(t *testing.T, s store.Store) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), policy.Key{Type: policy.TypeSecret, Mesh: "default", Name: policy.SigningKeyPrefix("default") + "1"})
	if err != nil {
		t.Fatal(err)
	}
	return r.(*policy.Secret).Data
}

// The mesh that is there from the first start on has a signing key, and a second start leaves both as they are.
func TestDefaultMesh(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	defer s.Close()
	rs := registry.Registry{Store: s}
	if err := rs.CreateDefaults(t.Context(), settings.DefaultsConfig{SkipMeshCreation: true}); err != nil {
		t.Fatal(err)
	}
	if meshes, err := s.List(t.Context(), policy.TypeMesh, ""); err != nil || len(meshes) != 0 {
		t.Errorf("skipped, and yet there is %v, %v", meshes, err)
	}
	if err := rs.CreateDefaults(t.Context(), settings.DefaultsConfig{}); err != nil {
		t.Fatal(err)
	}
	first := firstKey(t, s)
	if _, err := token.ParseKey(first); err != nil {
		t.Error(err)
	}
	m, err := s.Get(t.Context(), policy.Key{Type: policy.TypeMesh, Name: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if err := rs.CreateDefaults(t.Context(), settings.DefaultsConfig{}); err != nil {
		t.Fatal(err)
	}
	again, err := s.Get(t.Context(), policy.Key{Type: policy.TypeMesh, Name: "default"})
	if err != nil || again.Metadata().Version != m.Metadata().Version || string(firstKey(t, s)) != string(first) {
		t.Errorf("a second start changed the mesh or its key: %v", err)
	}
}

// Two control planes that start at the same time on one store have one CA.
func TestCPAuthorityIsOne(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	defer s.Close()
	var first *certs.CA
	late := &cptest.LateStore{Store: s, Late: func() {
		var err error
		if first, err = registry.LoadCPAuthority(t.Context(), s); err != nil {
			t.Error(err)
		}
	}}
	second, err := registry.LoadCPAuthority(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	third, err := registry.LoadCPAuthority(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Certificate().Equal(second.Certificate()) || !first.Certificate().Equal(third.Certificate()) {
		t.Error("more than one CA")
	}
}

// Half a CA is not made whole by making another: every agent has the pin of the one that was.
func TestHalfACPAuthority(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	defer s.Close()
	if _, err := registry.LoadCPAuthority(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), s, policy.Key{Type: policy.TypeGlobalSecret, Name: "kuma-cp-ca-key"}); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.LoadCPAuthority(t.Context(), s); err == nil || !strings.Contains(err.Error(), "only one of") {
		t.Errorf("got %v", err)
	}
}
