package api_test

import (
	"encoding/json"
	"testing"

	"koguma/cp/settings"
)

// The catalog tells agents whether they need a token. Tokens are issued all the same, but where the API for them is off.
func TestCatalogWithoutAuthentication(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*settings.Config){
		"authn":    func(c *settings.Config) { c.DPServer.Authn.DPProxy.Type = settings.AuthnNone },
		"old":      func(c *settings.Config) { c.DPServer.Auth.Type = settings.AuthnNone },
		"very old": func(c *settings.Config) { c.AdminServer.APIs.DataplaneToken.Enabled = false },
	} {
		s := newServer(t, off)
		var c struct {
			APIs struct{ DataplaneToken, Admin *struct{ LocalURL string } }
		}
		if err := json.Unmarshal([]byte(s.get("/catalog").Body), &c); err != nil || c.APIs.DataplaneToken != nil || c.APIs.Admin == nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		r := s.send(request{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"default","validFor":"1h"}`})
		if name == "very old" {
			r.WantProblem(t, 404, "adminServer.apis.dataplaneToken.enabled")
		} else if r.Status != 200 {
			t.Errorf("%s: no token: %d %s", name, r.Status, r.Body)
		}
	}
}
