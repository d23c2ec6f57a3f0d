package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// stamp is a moment from now, as the API writes it.
func stamp(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// proxyJSON is the overview of a proxy that is online, with a certificate of which so much is over and so much is left.
func proxyJSON(name string, over, left time.Duration, rejection string) string {
	mtls := ""
	if over > 0 {
		mtls = fmt.Sprintf(`"mTLS":{"certificateExpirationTime":%q,"lastCertificateRegeneration":%q,"certificateRegenerations":1,"issuedBackend":"ca-1"},`,
			stamp(left), stamp(-over))
	}
	return fmt.Sprintf(`{"total":1,"items":[{"type":"DataplaneOverview","mesh":"default","name":%q,
"dataplane":{"networking":{"address":"127.0.0.1","inbound":[{"port":80,"tags":{"kuma.io/service":"web"}}]}},
"dataplaneInsight":{%s"subscriptions":[{"id":"1","connectTime":%q,"status":{"lastRejection":%q}}]}}]}`, name, mtls, stamp(-time.Hour), rejection)
}

// trustJSON is whom a mesh trusts: one CA that ends so far from now.
func trustJSON(ends time.Duration, stage, rest string) string {
	return fmt.Sprintf(`{"mesh":"default","enabled":"ca-1","stage":%q,"issuing":"ca-1",%s
"authorities":[{"backend":"ca-1","fingerprint":"0123456789abcdef00","issuing":true,"notAfter":%q}]}`, stage, rest, stamp(ends))
}

// healthy is what a control plane answers that has nothing wrong with it.
func healthy() map[string]string {
	const none = `{"total":0,"items":[]}`
	mesh := `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`
	return map[string]string{
		"/":                                      `{"product":"Koguma","version":"dev","instanceId":"cp-1"}`,
		"/who-am-i":                              `{"name":"mesh-system:admin","groups":[]}`,
		"/config":                                `{"store":{"type":"file"},"dpServer":{"authn":{"dpProxy":{"dpToken":{"enableIssuer":true}}}},"diagnostics":{"interface":"127.0.0.1","serverPort":0}}`,
		"/control-planes":                        `{"total":1,"items":[{"instanceId":"cp-1","version":"dev","status":"self","proxies":1}]}`,
		"/catalog":                               `{"apis":{"bootstrap":{"url":""},"dataplaneToken":{}}}`,
		"/meshes":                                `{"total":1,"items":[{"type":"Mesh","name":"default"}]}`,
		"/meshes/default":                        mesh,
		"/meshes/default/trust":                  trustJSON(1000*time.Hour, "settled", ""),
		"/meshes/default/dataplanes/_overview":   proxyJSON("web-1", time.Hour, 23*time.Hour, ""),
		"/meshes/default/_delivery":              `{"mesh":"default","version":1,"proxies":1,"pending":[],"absent":[]}`,
		"/meshes/default/dataplane-tokens":       fmt.Sprintf(`{"total":1,"items":[{"mesh":"default","proxy":"web-1","iat":%q,"exp":%q,"admitted":true}]}`, stamp(-time.Hour), stamp(9*time.Hour)),
		"/meshes/default/signing-keys":           `{"total":1,"items":[{"name":"k","serial":1,"signs":true,"creationTime":"2026-01-01T00:00:00Z"}]}`,
		"/meshes/default/meshtrafficpermissions": none,
		"/meshes/default/traffic-permissions":    `{"total":1,"items":[{"type":"TrafficPermission","mesh":"default","name":"all","sources":[{"match":{"kuma.io/service":"*"}}],"destinations":[{"match":{"kuma.io/service":"*"}}]}]}`,
	}
}

// Each thing that can be wrong with a control plane is found, and nothing is where nothing is wrong.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	trust := func(ends time.Duration, stage, rest string) map[string]string {
		return map[string]string{"/meshes/default/trust": trustJSON(ends, stage, rest)}
	}
	proxy := func(over, left time.Duration, rejection string) map[string]string {
		return map[string]string{"/meshes/default/dataplanes/_overview": proxyJSON("web-1", over, left, rejection)}
	}
	tokens := func(iat, exp time.Duration, rest string) map[string]string {
		return map[string]string{"/meshes/default/dataplane-tokens": fmt.Sprintf(`{"total":1,"items":[{"mesh":"default","proxy":"web-1","iat":%q,"exp":%q,%s}]}`, stamp(iat), stamp(exp), rest)}
	}
	for _, c := range []struct {
		name    string
		answers map[string]string
		want    string // a line of the report; "" is none but ok and what was not checked
	}{
		{"nothing", nil, ""},
		{"another version", map[string]string{"/": `{"product":"Koguma","version":"9.9"}`}, `warn  control plane .*Koguma 9.9.*this kumactl is version dev`},
		{"another product", map[string]string{"/": `{"product":"Kuma","version":"dev"}`}, `warn  control plane .*not the product`},
		{"no product", map[string]string{"/": `{"hello":"world"}`}, `FAIL  control plane .*no API of a control plane \(200 OK\)`},
		{"a read-only API", map[string]string{"/config": `{"store":{"type":"file"},"apiServer":{"readOnly":true},"diagnostics":{}}`}, `warn  API .*read-only`},
		{"no authentication", map[string]string{"/catalog": `{"apis":{}}`}, `warn  authentication .*proxies need no token`},
		{"a control plane that is silent", map[string]string{"/control-planes": `{"total":2,"items":[{"instanceId":"cp-1","status":"self"},{"instanceId":"cp-2","address":"192.0.2.2:5683","status":"unheard"}]}`},
			`FAIL  control planes, 192.0.2.2:5683 .*cp-2 does not answer since`},
		{"no mesh", map[string]string{"/meshes": `{"total":0,"items":[]}`}, `warn  meshes .*there is none`},
		{"a backend that cannot be used", trust(1000*time.Hour, "settled", `"fault":"no such secret",`), `FAIL  mesh default: CA .*ca-1 cannot be used: no such secret`},
		{"a rotation", trust(1000*time.Hour, "issue", `"waitsFor":[{"proxy":"web-1","why":"x"}],`), `warn  mesh default: CA .*stage issue since .*waits for .*web-1`},
		{"a CA that ends soon", trust(100*time.Hour, "settled", ""), `warn  mesh default: CA .*, in 4 d`},
		{"a CA that has ended", trust(-50*time.Hour, "settled", ""), `FAIL  mesh default: CA .*, 2 d ago`},
		{"a proxy that refuses", proxy(time.Hour, 23*time.Hour, "port taken"), `FAIL  mesh default: proxies .*refuse what they are sent.*web-1 \(port taken\)`},
		{"a proxy without certificate", proxy(0, 0, ""), `FAIL  mesh default: certificates .*have none, and reach nobody: web-1`},
		{"a certificate that has ended", proxy(25*time.Hour, -time.Hour, ""), `FAIL  mesh default: certificates .*have ended: web-1`},
		{"a certificate that is overdue", proxy(21*time.Hour, 3*time.Hour, ""), `FAIL  mesh default: certificates .*should have been renewed: web-1 \(ends`},
		{"a certificate that is almost overdue", proxy(19*time.Hour, 5*time.Hour, ""), ""},
		{"a proxy that is behind", map[string]string{"/meshes/default/_delivery": `{"mesh":"default","proxies":1,"pending":[{"proxy":"web-1","type":"listener","reason":"not yet","refusal":"no"}]}`},
			`warn  mesh default: delivery .*web-1 \(not yet: no\)`},
		{"a token that would be refused", tokens(-time.Hour, time.Hour, `"admitted":false,"reason":"revoked"`), `FAIL  mesh default: tokens .*web-1 \(revoked\)`},
		{"a token that ends", tokens(-7*time.Hour, 3*time.Hour, `"admitted":true`), `warn  mesh default: tokens .*two thirds of their life are over: web-1`},
		{"several signing keys", map[string]string{"/meshes/default/signing-keys": `{"total":2,"items":[{"serial":1},{"serial":2}]}`}, `warn  mesh default: signing key .*2 keys`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answers := healthy()
			maps.Copy(answers, c.answers)
			got := kumactl(t, serveDoctor(t, answers, 0), "doctor")
			if c.want != "" && !regexp.MustCompile("(?m)^("+c.want+")").MatchString(got.stdout) {
				t.Errorf("no %s in\n%s", c.want, got.stdout)
			}
			failed := strings.HasPrefix(c.want, "FAIL")
			if (got.code == 1) != failed || strings.Contains(got.stdout, "\nFAIL") != failed {
				t.Errorf("code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if c.want == "" && strings.Contains(got.stdout, "\nwarn") {
				t.Errorf("warnings:\n%s", got.stdout)
			}
		})
	}
}

// serveDoctor answers as a control plane whose clock is ahead.
func serveDoctor(t *testing.T, answers map[string]string, ahead time.Duration) string {
	t.Helper()
	return serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		text, ok := answers[r.URL.Path]
		if r.Method != http.MethodGet || !ok {
			t.Errorf("it was asked %s %s", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusNotFound)
		}
		w.Write([]byte(text))
	})
}

// Clocks that differ are found.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	got := kumactl(t, serveDoctor(t, healthy(), time.Hour), "doctor")
	if want := regexp.MustCompile(`(?m)^FAIL  clock .* (1h0m0s|59m59s) behind that of the control plane`); got.code != 1 || !want.MatchString(got.stdout) || !strings.Contains(got.stdout, "KG0104") {
		t.Errorf("code %d\n%s", got.code, got.stdout)
	}
}

// A store that takes no changes is told by the diagnostics.
func TestDoctorStore(t *testing.T) {
	t.Parallel()
	for status, text := range map[int]string{http.StatusOK: "OK\n", http.StatusServiceUnavailable: "not ready: away\n"} {
		diagnostics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, text)
		}))
		defer diagnostics.Close()
		answers := healthy()
		port := diagnostics.Listener.Addr().(*net.TCPAddr).Port
		answers["/config"] = strings.Replace(answers["/config"], `"serverPort":0`, fmt.Sprintf(`"serverPort":%d`, port), 1)
		got := kumactl(t, serveDoctor(t, answers, 0), "doctor")
		want := map[int]string{http.StatusOK: "ok    store .*file; OK", http.StatusServiceUnavailable: "FAIL  store .*file; not ready: away"}[status]
		if !regexp.MustCompile("(?m)^" + want).MatchString(got.stdout) {
			t.Errorf("no %s in\n%s", want, got.stdout)
		}
	}
}

// A control plane that says nothing is not waited for.
func TestDoctorSilence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and nobody reads them
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	got := kumactl(t, "http://"+l.Addr().String(), "doctor")
	if !strings.Contains(got.stdout, "somebody takes the connection at http://"+l.Addr().String()+", and says nothing") || got.code != 1 {
		t.Errorf("code %d\n%s", got.code, got.stdout)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
