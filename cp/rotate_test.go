package cp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// meshOf is the mesh "default" with these builtin backends, the first of which is enabled.
func meshOf(backends ...string) string {
	var list []string
	for _, name := range backends {
		list = append(list, fmt.Sprintf(`{"name":%q,"type":"builtin"}`, name))
	}
	return fmt.Sprintf(`{"type":"Mesh","name":"default","mtls":{"enabledBackend":%q,"backends":[%s]}}`, backends[0], strings.Join(list, ","))
}

// trusts waits until the trust of the mesh is in a stage, signed for by that backend.
func (p *plane) trusts(stage policy.TrustStage, issuing string) (v policy.TrustOverview) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("stage %s with %s", stage, issuing), func() bool {
		v = policy.TrustOverview{}
		if err := json.Unmarshal([]byte(p.rest("GET", "/meshes/default/trust", "")), &v); err != nil {
			p.t.Fatal(err)
		}
		return v.Stage == stage && v.Issuing == issuing
	})
	return v
}

// A rotation is begun, gone back from and forced through the API, and each of that only where there is something to do.
func TestRotateByAPI(t *testing.T) {
	t.Parallel()
	p := start(t)
	rotate := "http://" + p.addrs.API.String() + "/meshes/default/trust/rotate"
	post := func(status int, body, say string) {
		t.Helper()
		got := p.posts(rotate, body)
		if status != 200 {
			got.WantProblem(t, status, say)
		} else if got.Status != 200 {
			t.Errorf("%s: %d %s", body, got.Status, got.Body)
		}
	}
	post(409, `{"to":"ca-1"}`, "mTLS is off")
	p.put("/meshes/default", meshOf("ca-1", "ca-2"))
	p.trusts(policy.StageSettled, "ca-1")
	web := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	web.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
	web.expect(xds.TypeSecret)

	post(400, `{}`, "give to, or abort, or force")
	post(400, `{"to":"ca-2","abort":true}`, "give to, or abort, or force")
	post(400, `{"to":"ca-3"}`, `has no backend "ca-3"`)
	post(400, `{"too":"ca-2"}`, "too")
	post(409, `{"abort":true}`, "is not being rotated")
	post(409, `{"force":true}`, "nothing is being waited for")
	post(200, `{"to":"ca-2"}`, "")
	if v := p.trusts(policy.StageTrustBoth, "ca-1"); v.From != "ca-1" || v.Enabled != "ca-2" || len(v.Authorities) != 2 || v.Authorities[1].NotAfter.IsZero() {
		t.Errorf("got %+v", v)
	}
	post(409, `{"to":"ca-1","force":true}`, `not going to "ca-1"`)
	post(200, `{"force":true}`, "")
	p.trusts(policy.StageIssue, "ca-2")
	if !strings.Contains(p.log.String(), `"forced past"="web-1: it has not taken the roots of ca-2 yet"`) {
		t.Error("the audit log does not name whom force passed")
	}
	post(200, `{"abort":true}`, "")
	p.trusts(policy.StageIssue, "ca-1")
	post(409, `{"abort":true}`, "it goes to ca-1 already")
}

// A backend that is needed stays in the mesh, unless by force.
func TestBackendThatIsNeededStays(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.put("/meshes/default", meshOf("ca-1", "ca-2"))
	p.trusts(policy.StageSettled, "ca-1")
	web := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
	web.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
	web.expect(xds.TypeSecret) // and ACKs nothing more
	try := func(method, path, body string) cptest.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.addrs.API.String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		return send(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
	}
	try("PUT", "/meshes/default", meshOf("ca-2")).WantProblem(t, 409, `backend "ca-1" is still needed: it signs; web-1 has a certificate that ends`)
	p.put("/meshes/default", meshOf("ca-2", "ca-1"))
	p.trusts(policy.StageTrustBoth, "ca-1")
	try("PUT", "/meshes/default", meshOf("ca-2")).WantProblem(t, 409, "kumactl rotate ca --mesh default --to ca-2 --wait")
	for _, name := range []string{policy.CACertName("default", "ca-1"), policy.CAKeyName("default", "ca-1")} {
		try("DELETE", "/meshes/default/secrets/"+name, "").WantProblem(t, 400, `backend "ca-1" of mesh "default" uses this secret`)
	}
	try("PUT", "/meshes/default?force=maybe", meshOf("ca-2")).WantProblem(t, 400, "force")
	try("PUT", "/meshes/default/traffic-permissions/p?force=true", cptest.Permission).WantProblem(t, 400, "no query parameters")
	p.put("/meshes/default?force=true", meshOf("ca-2"))
	v := p.trusts(policy.StageDrop, "ca-2")
	if len(v.Authorities) != 1 || !strings.Contains(p.log.String(), `force="it signs; web-1 has a certificate`) {
		t.Errorf("it trusts %+v, and the log has no word of whom that cuts off", v.Authorities)
	}
	p.put("/meshes/default", `{"type":"Mesh","name":"default"}`) // nobody is verified any more
}
