package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/store"
)

// A GlobalSecret is read one by one, under both names of its path, and by administrators.
func TestGlobalSecret(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/globalsecrets/a", globalSecretJSON("a", "x"))
	for _, path := range []string{"/globalsecrets", "/global-secrets"} {
		if r := s.get(path); r.Status != 200 || !strings.Contains(r.Body, `"total":1`) || strings.Contains(r.Body, `"data"`) {
			t.Errorf("GET %s: %d %s", path, r.Status, r.Body)
		}
		if r := s.get(path + "/a"); r.Status != 200 || !strings.Contains(r.Body, `"data":"eA=="`) {
			t.Errorf("GET %s/a: %d %s", path, r.Status, r.Body)
		}
		s.send(request{method: "GET", path: path + "/a", peer: "192.0.2.1:1"}).WantProblem(t, 403, "administrators")
	}
	if r := s.send(request{method: "DELETE", path: "/global-secrets/a"}); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	s.get("/globalsecrets/a").WantProblem(t, 404, "not found")
}

// What the control planes keep for themselves nobody else reads or writes, and what would have no effect is refused.
func TestOwnGlobalSecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := registry.LoadCPAuthority(t.Context(), s.store); err != nil {
		t.Fatal(err)
	}
	note := &policy.GlobalSecret{Meta: policy.Meta{Type: policy.TypeGlobalSecret, Name: "signing-key-serial-default"}, Data: []byte("1")}
	if _, err := store.Put(t.Context(), s.store, note); err != nil {
		t.Fatal(err)
	}
	before := s.contents()
	for _, name := range []string{"kuma-cp-ca-cert", "kuma-cp-ca-key", "signing-key-serial-default"} {
		if r := s.get("/globalsecrets/" + name); r.Status != 200 || strings.Contains(r.Body, `"data"`) {
			t.Errorf("GET %s: %d %s", name, r.Status, r.Body)
		}
		for _, method := range []string{"PUT", "DELETE"} {
			s.send(request{method: method, path: "/globalsecrets/" + name, body: globalSecretJSON(name, "x")}).WantProblem(t, 400, "itself")
		}
	}
	for _, name := range []string{"kuma-cp-x", "signing-key-serial-other", cptest.KeyName(1), "dataplane-token-revocations-default"} {
		s.put("/globalsecrets/"+name, globalSecretJSON(name, "x")).WantProblem(t, 400, "name")
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}
