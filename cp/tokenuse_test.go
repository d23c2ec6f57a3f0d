package cp_test

import (
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/token"
)

// What the API says of tokens in use: which, for what, and whether they would be let in now; never the token.
func TestTokensInUse(t *testing.T) {
	t.Parallel()
	p := start(t)
	raw := sign(t, token.Claims{Mesh: "default", ID: "one", Name: "web-1", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	s1 := p.joinBy(p.conn, "sotw", raw, node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	s2 := p.joinBy(p.conn, "delta", sign(t, token.Claims{Mesh: "default", ID: "two"}), node(t, "default.web-2", brought(dataplane("web-2", "web"))))
	text := p.rest("GET", "/meshes/default/dataplane-tokens", "")
	var list struct {
		Total int               `json:"total"`
		Items []policy.TokenUse `json:"items"`
	}
	if err := policy.DecodeOpen([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if list.Total != 2 || len(list.Items) != 2 {
		t.Fatal(text)
	}
	u := list.Items[0]
	if u.Proxy != "web-1" || u.Mesh != "default" || u.ID != "one" || u.KeyID != "2" || !u.Admitted || u.Reason != "" ||
		u.Bounds.Name != "web-1" || u.Bounds.Tags["kuma.io/service"][0] != "web" || time.Until(u.ExpiresAt) < 50*time.Minute {
		t.Errorf("%+v", u)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if strings.Contains(text, part) {
			t.Errorf("the token is in %s", text)
		}
	}
	if text := p.rest("GET", "/meshes/default/dataplane-tokens?size=1", ""); !strings.Contains(text, `"total":2`) || !strings.Contains(text, "offset=k") || strings.Contains(text, `"two"`) {
		t.Errorf("a page: %s", text)
	}
	if text := p.rest("GET", "/meshes/default/dataplane-tokens?name=web-2", ""); !strings.Contains(text, `"total":1`) || !strings.Contains(text, `"two"`) {
		t.Errorf("by name: %s", text)
	}
	p.put("/meshes/m2", `{"type":"Mesh","name":"m2"}`)
	if text := p.rest("GET", "/meshes/m2/dataplane-tokens", ""); !strings.Contains(text, `"total":0`) {
		t.Errorf("of another mesh: %s", text)
	}
	s1.leave()
	s2.leave()
}
