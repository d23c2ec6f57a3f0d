package cp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"koguma/cp/cptest"
	"koguma/cp/settings"
	"koguma/token"
)

// askBootstrap asks for a bootstrap, in the form that accept names. A body that is a string is sent as it is.
func (p *plane) askBootstrap(accept string, body any) cptest.Response {
	p.t.Helper()
	return p.overHTTP("POST", "/bootstrap", accept, body)
}

// overHTTP sends a request to the DP server.
func (p *plane) overHTTP(method, path, accept string, body any) cptest.Response {
	p.t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		text = string(data)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, "https://"+p.addrs.DP.String()+path, strings.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	transport := &http.Transport{TLSClientConfig: p.tls("http/1.1"), DisableKeepAlives: true}
	return send(p.t, &http.Client{Transport: transport}, r)
}

// envoyAccepts shows a bootstrap to the real Envoy.
func envoyAccepts(t *testing.T, text []byte) {
	t.Helper()
	binary := os.Getenv("KOGUMA_ENVOY")
	if binary == "" {
		binary = "../.tools/envoy/bin/envoy"
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("no Envoy; run make tools: %v", err)
	}
	file := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(binary, "--mode", "validate", "--log-level", "warning", "--config-path", file).CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(said), []byte("OK")) {
		t.Errorf("Envoy refuses it: %v\n%s", err, said)
	}
}

// An Envoy gets a bootstrap that Envoy accepts, in the form that was asked for, with what it needs to dial this control
// plane and no other.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", dataplane("web-1", "web"))
	raw := sign(t, token.Claims{Mesh: "default"})
	dir, err := os.MkdirTemp("", "koguma") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	request := map[string]any{
		"mesh": "default", "name": "web-1", "proxyType": "dataplane", "dataplaneToken": raw, "workdir": dir,
		"version": map[string]any{"kumaDp": map[string]any{"version": "2.14.3"}}, "dnsPort": 15054, "features": []any{"feature-x"},
	}
	asYAML := p.askBootstrap("", request)
	if asYAML.Status != 200 || asYAML.Header.Get("Content-Type") != "text/x-yaml" {
		t.Fatalf("%d %v %s", asYAML.Status, asYAML.Header, asYAML.Body)
	}
	envoyAccepts(t, []byte(asYAML.Body))
	asJSON := p.askBootstrap("application/json", request)
	var answer struct{ Bootstrap string }
	if err := json.Unmarshal([]byte(asJSON.Body), &answer); err != nil || asJSON.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", asJSON.Status, asJSON.Header, asJSON.Body)
	}
	if text, err := base64.StdEncoding.DecodeString(answer.Bootstrap); err != nil || string(text) != asYAML.Body {
		t.Errorf("the two forms differ: %v\n%s\n%s", err, text, asYAML.Body)
	}
	_, port, _ := strings.Cut(p.addrs.DP.String(), ":")
	for _, want := range []string{"id: default.web-1", raw, "kuma-cp", "port_value: " + port, "api_type: GRPC", dir + "/kuma-envoy-admin.sock", "BEGIN CERTIFICATE"} {
		if !strings.Contains(asYAML.Body, want) {
			t.Errorf("no %s in %s", want, asYAML.Body)
		}
	}
	if strings.Contains(asYAML.Body, "PRIVATE KEY") {
		t.Error("a private key in the bootstrap")
	}

	request["features"], request["dataplaneResource"] = []any{"feature-delta-grpc"}, dataplane("web-1", "web")
	asDelta := p.askBootstrap("*/*", request)
	envoyAccepts(t, []byte(asDelta.Body))
	var decoded map[string]any
	if err := yaml.Unmarshal([]byte(asDelta.Body), &decoded); err != nil || !strings.Contains(asDelta.Body, "DELTA_GRPC") {
		t.Errorf("%v: %s", err, asDelta.Body)
	}
	meta := decoded["node"].(map[string]any)["metadata"].(map[string]any)
	if meta["dataplane.resource"] != dataplane("web-1", "web") {
		t.Errorf("metadata: %v", meta)
	}
	if log := p.log.String(); strings.Contains(log, raw) {
		t.Error("the token is in the log")
	}
}

// The address in the bootstrap is the one that was configured, before the one that was asked at.
func TestBootstrapAddress(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *settings.Config) {
		c.BootstrapServer.Params = settings.BootstrapParamsConfig{XDSHost: "cp.example", XDSPort: 7777}
	})
	p.apply("web-1", dataplane("web-1", "web"))
	got := p.askBootstrap("", map[string]any{"mesh": "default", "name": "web-1", "workdir": "/w", "dataplaneToken": sign(t, token.Claims{Mesh: "default"})})
	if !strings.Contains(got.Body, "address: cp.example") || !strings.Contains(got.Body, "port_value: 7777") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// What cannot be answered has its status, and says why without a word of the token; nothing is written.
func TestBootstrapRefused(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", dataplane("web-1", "web"))
	p.apply("api-1", dataplane("api-1", "api"))
	web := sign(t, token.Claims{Mesh: "default", ID: "canary", Tags: map[string][]string{"kuma.io/service": {"web"}}})
	good := map[string]any{"mesh": "default", "name": "web-1", "workdir": "/w", "dataplaneToken": web}
	with := func(pairs ...any) map[string]any {
		m := maps.Clone(good)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	before := p.contents()
	for _, c := range []struct {
		name   string
		body   any
		status int
		say    string
	}{
		{"nothing", "", 400, "line 1"},
		{"no document", "{", 400, "line 1"},
		{"two documents", "{}{}", 400, "line 1"},
		{"a field twice", `{"mesh":"a","mesh":"b"}`, 400, "mesh"},
		{"a field in another case", `{"Mesh":"a"}`, 400, "Mesh"},
		{"too long", strings.Repeat(" ", 1<<20+1), 413, "1 MiB"},
		{"no mesh", with("mesh", ""), 400, "must not be empty"},
		{"mesh that cannot be", with("mesh", "../x"), 400, "lower case"},
		{"name that cannot be", with("name", "a/b"), 400, "lower case"},
		{"ingress", with("proxyType", "ingress"), 400, "proxyType"},
		{"no folder", with("workdir", ""), 400, "workdir"},
		{"a relative folder", with("workdir", "w"), 400, "workdir"},
		{"no token", with("dataplaneToken", ""), 422, "kumactl generate dataplane-token"},
		{"no JWT", with("dataplaneToken", "nonsense"), 401, "token refused: "},
		{"a token of no key", with("dataplaneToken", jwt(t, `{"alg":"RS256","kid":"9"}`, goodClaims())), 401, "token refused: "},
		{"a token of another mesh", with("dataplaneToken", sign(t, token.Claims{Mesh: "other"})), 403, "token refused: "},
		{"a token of another name", with("dataplaneToken", sign(t, token.Claims{Mesh: "default", Name: "x"})), 403, "token refused: "},
		{"a token of another service", with("name", "api-1"), 403, "token refused: "},
		{"a name that is another's", with("name", "api-1", "dataplaneResource", dataplane("api-1", "web")), 403, "token refused: "},
		{"another service", with("name", "new", "dataplaneResource", dataplane("new", "api")), 403, "token refused: "},
		{"no Dataplane", with("name", "new"), 404, ""},
		{"a Dataplane that is none", with("name", "new", "dataplaneResource", "{"), 422, "dataplane.resource: line 1"},
		{"a Dataplane of another name", with("name", "new", "dataplaneResource", dataplane("x", "web")), 422, "brought"},
		{"a Dataplane that is not valid", with("name", "new", "dataplaneResource", strings.Replace(dataplane("new", "web"), address("new"), "x", 1)), 422, "networking.address"},
	} {
		got := p.askBootstrap("application/json", c.body)
		if got.Status != c.status || !strings.Contains(got.Body, c.say) || (c.status == 404 && got.Body != "") {
			t.Errorf("%s: %d %s, want %d and %q", c.name, got.Status, got.Body, c.status, c.say)
		}
		if strings.Count(got.Body, "\n") > 1 || strings.Contains(got.Body, "canary") || strings.Contains(got.Body, "eyJ") || strings.Contains(got.Body, "rpc error") {
			t.Errorf("%s: %q", c.name, got.Body)
		}
	}
	if r := p.overHTTP("GET", "/bootstrap", "", ""); r.Status != 405 || r.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", r.Status, r.Header)
	}
	for _, path := range []string{"/", "/bootstrap/", "/meshes", "/bootstrap/../meshes"} {
		if r := p.overHTTP("POST", path, "", good); r.Status != 404 {
			t.Errorf("%s: %d", path, r.Status)
		}
	}
	if after := p.contents(); after != before {
		t.Errorf("the store has changed from %s to %s", before, after)
	}
}
