package cp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"koguma/policy"
	"koguma/token"
)

// What there may be only one of is made once, and used by all control planes that start at the same time on an empty store:
// the CA of their own TLS, the key that signs tokens, the CA of a mesh and whom it trusts.
func TestMadeOnce(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	all := f.bootAtOnce(3)
	atOnce(t, all, "PUT", "/meshes/default", meshOf("ca-1"))
	pins, keys, trusted := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range all {
		claims, err := token.Inspect(token.Raw(m.rest("POST", "/tokens/dataplane", `{"mesh":"default","validFor":"1h"}`)))
		if err != nil {
			t.Fatal(err)
		}
		pins[claims.Pin], keys[claims.KeyID] = true, true
		for _, a := range m.trusts(policy.StageSettled, "ca-1").Authorities {
			trusted[a.Fingerprint] = true
		}
	}
	if len(pins) != 1 || len(keys) != 1 || len(trusted) != 1 {
		t.Errorf("the CAs of control planes are %v, the keys %v, the CAs of the mesh %v; want one of each", pins, keys, trusted)
	}
	var names []string
	for _, typ := range []policy.Type{policy.TypeSecret, policy.TypeGlobalSecret, policy.TypeTrust, policy.TypeMesh} {
		resources, err := f.store.List(t.Context(), typ, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resources {
			names = append(names, r.Metadata().Name)
		}
	}
	want := strings.Join([]string{
		policy.SigningKeyPrefix("default") + "1", policy.CACertName("default", "ca-1"), policy.CAKeyName("default", "ca-1"),
		"kuma-cp-ca-cert", "kuma-cp-ca-key", "default", "default",
	}, " ")
	if got := strings.Join(names, " "); got != want {
		t.Errorf("there are\n%s\nwant\n%s", got, want)
	}
}

// Signing keys that several control planes make at once have different serial numbers, and tokens by any are good for all.
func TestKeysMadeAtOnce(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	all := f.bootAtOnce(3)
	atOnce(t, all, "POST", "/meshes/default/signing-keys", `{}`)
	for _, m := range all {
		var list struct{ Total int }
		if err := json.Unmarshal([]byte(m.rest("GET", "/meshes/default/signing-keys", "")), &list); err != nil {
			t.Fatal(err)
		}
		if list.Total != len(all)+1 {
			t.Errorf("there are %d signing keys, want %d", list.Total, len(all)+1)
		}
	}
}

// atOnce has all control planes asked the same at the same time, which they must do.
func atOnce(t *testing.T, all []*member, method, path, body string) {
	t.Helper()
	errs := make(chan error)
	for _, m := range all {
		go func() {
			errs <- func() error {
				r, err := http.NewRequestWithContext(t.Context(), method, "http://"+m.addrs.API.String()+path, strings.NewReader(body))
				if err != nil {
					return err
				}
				r.Header.Set("Content-Type", "application/json")
				got, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
				if err != nil {
					return err
				}
				defer got.Body.Close()
				if got.StatusCode/100 != 2 {
					return fmt.Errorf("%s %s: %s", method, path, got.Status)
				}
				return nil
			}()
		}()
	}
	for range all {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
