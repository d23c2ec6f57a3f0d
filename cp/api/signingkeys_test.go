package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

const keysPath = "/meshes/default/signing-keys"

// signingKeys are the keys that the API lists: their serial numbers, and a star at the one that signs.
func (s *server) signingKeys() string {
	s.t.Helper()
	var list struct {
		Items []policy.SigningKey `json:"items"`
	}
	if err := policy.DecodeOpen([]byte(s.get(keysPath).Body), &list); err != nil {
		s.t.Fatal(err)
	}
	var text []string
	for _, k := range list.Items {
		if k.Name != cptest.KeyName(k.Serial) || k.CreationTime.IsZero() {
			s.t.Errorf("key %+v", k)
		}
		text = append(text, strings.TrimSpace(fmt.Sprintf("%d %s", k.Serial, map[bool]string{true: "*"}[k.Signs])))
	}
	return strings.Join(text, " ")
}

// The control plane makes the next key, and shows nobody what it is.
func TestMakeSigningKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, step := range []struct {
		body         string
		status       int
		serial, then string
	}{
		{`{}`, 201, `"serial":2`, "1 2 *"},
		{`{"after":1}`, 200, `"serial":2`, "1 2 *"}, // somebody did
		{`{"after":2}`, 201, `"serial":3`, "1 2 3 *"},
		{`{"after":7}`, 201, `"serial":4`, "1 2 3 4 *"},
	} {
		r := s.send(request{method: "POST", path: keysPath, body: step.body})
		if r.Status != step.status || !strings.Contains(r.Body, step.serial) {
			t.Errorf("%s: %d %s, want %d %s", step.body, r.Status, r.Body, step.status, step.serial)
		}
		if strings.Contains(r.Body, `"data"`) || strings.Contains(r.Body, "KEY") {
			t.Errorf("there is a key in the answer: %s", r.Body)
		}
		if got := s.signingKeys(); got != step.then {
			t.Errorf("%s: keys %s, want %s", step.body, got, step.then)
		}
	}
	if r := s.get(keysPath + "?size=1&offset=1&name=signing"); !strings.Contains(r.Body, `"total":4`) || !strings.Contains(r.Body, `"serial":2`) || !strings.Contains(r.Body, "offset=k") {
		t.Errorf("a page of it: %s", r.Body)
	}
	if !strings.Contains(s.log.String(), "kid=2 created=true") {
		t.Error("not in the audit log")
	}
}

// A secret that is only named like a signing key is none, wherever it came from.
func TestOddSerials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, serial := range []any{"02", "+3", "-4", "0", "5x", ""} {
		if err := s.store.Write(t.Context(), store.Op{Put: cptest.Secret(cptest.KeyName(serial), cptest.SigningKey()), Expect: store.Absent}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.signingKeys(); got != "1 *" {
		t.Errorf("keys %s", got)
	}
}

// Who makes the key after the first at the same time as others makes one together with them.
func TestMakeSigningKeyAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if r := s.send(request{method: "POST", path: keysPath, body: `{"after":1}`}); !strings.Contains(r.Body, `"serial":2`) {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	wg.Wait()
	if got := s.signingKeys(); got != "1 2 *" {
		t.Errorf("keys %s", got)
	}
}

func TestMakeSigningKeyRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, row := range []badInput{
		{request{method: "POST", path: keysPath, body: `{"after":"1"}`}, 400, "after"},
		{request{method: "POST", path: keysPath, body: `{"serial":9}`}, 400, "serial"},
		{request{method: "POST", path: keysPath}, 415, "Content-Type"},
		{request{method: "POST", path: keysPath + "?after=1", body: `{}`}, 400, "query"},
		{request{method: "POST", path: "/meshes/nope/signing-keys", body: `{}`}, 404, "there is no mesh"},
		{request{method: "GET", path: "/meshes/nope/signing-keys"}, 404, "there is no mesh"},
		{request{method: "GET", path: keysPath, peer: "192.168.0.9:40000"}, 403, "administrators"},
		{request{method: "POST", path: keysPath, body: `{}`, peer: "192.168.0.9:40000"}, 403, "administrators"},
	} {
		s.send(row.request).WantProblem(t, row.status, row.say)
	}
	if got := s.signingKeys(); got != "1 *" {
		t.Errorf("keys %s", got)
	}
	closed := newServer(t, func(c *settings.Config) { c.APIServer.ReadOnly = true })
	closed.send(request{method: "POST", path: keysPath, body: `{}`}).WantProblem(t, 405, "POST")
	closed.send(request{method: "POST", path: revocationsPath, body: `{"mesh":"default","ids":["a"]}`}).WantProblem(t, 405, "POST")
}
