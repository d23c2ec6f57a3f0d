package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"koguma/cp/cptest"
	"koguma/token"
)

const (
	revocationsPath = "/tokens/dataplane/revocations"
	revocationList  = "dataplane-token-revocations-default"
)

func (s *server) revoke(ids ...string) cptest.Response {
	s.t.Helper()
	body := fmt.Sprintf(`{"mesh":"default","ids":["%s"]}`, strings.Join(ids, `","`))
	return s.send(request{method: "POST", path: revocationsPath, body: body})
}

// Ids are added to what the list has, whoever wrote it and in whatever way, and none twice.
func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before string // "": there is no list
		ids    []string
		answer string
		after  string
	}{
		{"", []string{"a"}, `{"added":1,"total":1}`, "a"},
		{"", []string{"a", "b", "a"}, `{"added":2,"total":2}`, "a,b"},
		{"a\n", []string{"b"}, `{"added":1,"total":2}`, "a,b"},
		{"a,\r\nb\r\n,", []string{"c"}, `{"added":1,"total":3}`, "a,\r\nb,c"},
		{"a b", []string{"b"}, `{"added":0,"total":2}`, "a b"},
		{"\n", []string{"b"}, `{"added":1,"total":1}`, "b"},
	} {
		s := newServer(t)
		if c.before != "" {
			s.mustPut(secretPath(revocationList), strings.Replace(cptest.SecretJSON(revocationList, []byte(c.before)), "{", `{"labels":{"k":"v"},`, 1))
		}
		if r := s.revoke(c.ids...); r.Status != 200 || r.Body != c.answer {
			t.Errorf("%q and %q: %d %s, want %s", c.before, c.ids, r.Status, r.Body, c.answer)
		}
		if got := string(secretData(t, s.store, "default", revocationList)); got != c.after {
			t.Errorf("%q and %q: the list is %q, want %q", c.before, c.ids, got, c.after)
		}
		if r := s.get(secretPath(revocationList)); c.before != "" && !strings.Contains(r.Body, `"labels":{"k":"v"}`) {
			t.Errorf("its labels are gone: %s", r.Body)
		}
	}
}

// There is a line for each token that was revoked, and none for those that were before.
func TestRevokeAudit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.revoke("first")
	s.revoke("first", "second")
	for id, want := range map[string]int{"first": 1, "second": 1} {
		line := "actor=mesh-system:admin"
		n := 0
		for text := range strings.Lines(s.log.String()) {
			if strings.Contains(text, line) && strings.Contains(text, "jti="+id) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d lines about %s, want %d:\n%s", n, id, want, s.log)
		}
	}
}

// Nobody's revocation is lost to that of somebody else.
func TestRevokeAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if r := s.revoke(fmt.Sprint("id-", i)); r.Status != 200 {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	wg.Wait()
	if r := s.revoke("id-0"); r.Body != `{"added":0,"total":50}` {
		t.Error(r.Body)
	}
}

func TestRevokeRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	post := func(body string, status int, say string) badInput {
		return badInput{request{method: "POST", path: revocationsPath, body: body}, status, say}
	}
	put := func(list, say string) badInput {
		return badInput{request{method: "PUT", path: secretPath(revocationList), body: cptest.SecretJSON(revocationList, []byte(list))}, 400, say}
	}
	whole := sign(t, token.Claims{Mesh: "default"})
	for _, row := range []badInput{
		post(`{"mesh":"default"}`, 400, "ids"), post(`{"mesh":"default","ids":[]}`, 400, "ids"),
		post(`{"mesh":"default","ids":[""]}`, 400, "ids[0]"), post(`{"mesh":"default","ids":["a","b c"]}`, 400, "ids[1]"),
		post(`{"mesh":"default","ids":["a,b"]}`, 400, "ids[0]"), post(`{"mesh":"default","ids":["é"]}`, 400, "ids[0]"),
		post(`{"mesh":"default","ids":["`+strings.Repeat("a", 129)+`"]}`, 400, "128"),
		post(`{"mesh":"default","ids":["`+whole+`"]}`, 400, "whole token"),
		post(`{"ids":["a"]}`, 400, "mesh"), post(`{"mesh":"nope","ids":["a"]}`, 400, "there is no mesh"),
		post(`{"mesh":"default","jti":["a"]}`, 400, "jti"), post(`{"mesh":"default","ids":"a"}`, 400, "ids"),
		{request{method: "POST", path: revocationsPath, body: `{"mesh":"default","ids":["a"]}`, peer: "192.168.0.9:40000"}, 403, "administrators"},
		put("a,"+whole, "entry 2 of the list: it is a whole token"), put("\x00\xff", "entry 1"),
		put("a,"+strings.Repeat("b", 129), "entry 2"),
		{request{method: "PUT", path: secretPath(revocationList), body: strings.Repeat(" ", 8<<20) + "{}"}, 413, "8 MiB"},
		{request{method: "PUT", path: secretPath(revocationList), body: strings.Repeat(" ", 8<<20) + "{}", chunked: true}, 413, "8 MiB"},
	} {
		r := s.send(row.request)
		r.WantProblem(t, row.status, row.say)
		if strings.Contains(r.Body, whole) {
			t.Errorf("the token is in the answer: %s", r.Body)
		}
	}
	if len(s.contents()) != 2 {
		t.Error("something was written")
	}
	if strings.Contains(s.log.String(), whole) {
		t.Error("the token is in the log")
	}
}
