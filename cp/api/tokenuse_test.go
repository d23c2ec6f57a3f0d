package api_test

import (
	"errors"
	"strings"
	"testing"

	"koguma/cp/api"
	"koguma/policy"
	"koguma/token"
)

// Who would not be let in now is told why, before it is acted upon.
func TestTokensThatWouldNotBeLetIn(t *testing.T) {
	t.Parallel()
	r, err := policy.Parse([]byte(dataplaneJSON("web-1", "web")))
	if err != nil {
		t.Fatal(err)
	}
	web := r.(*policy.Dataplane)
	bound := token.Claims{Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"api"}}}
	for name, test := range map[string]struct {
		claims token.Claims
		err    error
		d      *policy.Dataplane
		reason string // "": it is let in
	}{
		"fits":          {token.Claims{Mesh: "default"}, nil, web, ""},
		"out of bounds": {bound, nil, web, `it allows ["api"]`},
		"no Dataplane":  {token.Claims{Mesh: "default"}, nil, nil, "has been deleted"},
		"revoked":       {token.Claims{Mesh: "default"}, errors.New("it is revoked"), web, "it is revoked"},
	} {
		u := api.TokenUse(web.Key(), test.claims, test.err, test.d)
		if u.Admitted != (test.reason == "") || !strings.Contains(u.Reason, test.reason) || u.Admitted && u.Reason != "" {
			t.Errorf("%s: %+v", name, u)
		}
	}
}
