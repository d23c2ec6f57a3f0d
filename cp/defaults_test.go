package cp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

func TestDefaultMesh(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	defer s.Close()
	if err := cp.CreateDefaults(t.Context(), s, settings.DefaultsConfig{SkipMeshCreation: true}); err != nil {
		t.Fatal(err)
	}
	if meshes, err := s.List(t.Context(), policy.TypeMesh, ""); err != nil || len(meshes) != 0 {
		t.Errorf("skipped, and yet there is %v, %v", meshes, err)
	}
	if err := cp.CreateDefaults(t.Context(), s, settings.DefaultsConfig{}); err != nil {
		t.Fatal(err)
	}
	first := secretData(t, s, "default", keyName(1))
	if _, err := token.ParseKey(first); err != nil {
		t.Error(err)
	}
	m, err := s.Get(t.Context(), mesh("default").Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.CreateDefaults(t.Context(), s, settings.DefaultsConfig{}); err != nil {
		t.Fatal(err)
	}
	again, err := s.Get(t.Context(), mesh("default").Key())
	if err != nil || again.Metadata().Version != m.Metadata().Version || string(secretData(t, s, "default", keyName(1))) != string(first) {
		t.Errorf("a second start changed the mesh or its key: %v", err)
	}
}

// Two control planes that start at the same time on one store have one CA.
func TestCPAuthorityIsOne(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	defer s.Close()
	var first *certs.CA
	late := &lateStore{Store: s, late: func() {
		var err error
		if first, err = cp.LoadCPAuthority(t.Context(), s); err != nil {
			t.Error(err)
		}
	}}
	second, err := cp.LoadCPAuthority(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	third, err := cp.LoadCPAuthority(t.Context(), s)
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
	if _, err := cp.LoadCPAuthority(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), s, policy.Key{Type: policy.TypeGlobalSecret, Name: "kuma-cp-ca-key"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.LoadCPAuthority(t.Context(), s); err == nil || !strings.Contains(err.Error(), "only one of") {
		t.Errorf("got %v", err)
	}
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	var down error
	h := cp.NewDiagnostics(func() error { return down }, nil, http.NotFoundHandler())
	get := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	if a, b, c := get("/healthy"), get("/ready"), get("/metrics"); a != 200 || b != 200 || c != 404 {
		t.Errorf("up: %d %d %d", a, b, c)
	}
	down = errors.New("starting")
	if a, b := get("/healthy"), get("/ready"); a != 200 || b != 503 {
		t.Errorf("down: %d %d", a, b)
	}
}
