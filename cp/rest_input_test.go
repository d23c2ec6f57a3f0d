package cp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// badInput is a request that must be refused.
type badInput struct {
	request
	status int
	say    string // what the answer has to have in it
}

// webPut is a PUT of a Dataplane, with something in its JSON replaced.
func webPut(old, now string, status int, say string) badInput {
	body := dataplaneJSON("web-1", "web")
	if !strings.Contains(body, old) {
		panic("nothing to replace: " + old)
	}
	return badInput{request{method: "PUT", path: webPath, body: strings.Replace(body, old, now, 1)}, status, say}
}

func permissionPut(body string, status int, say string) badInput {
	return badInput{request{method: "PUT", path: permissionURL, body: body}, status, say}
}

func meshPut(mtls string, status int, say string) badInput {
	body := `{"type":"Mesh","name":"default","mtls":` + mtls + `}`
	return badInput{request{method: "PUT", path: "/meshes/default", body: body}, status, say}
}

func tokenPost(body string, status int, say string) badInput {
	return badInput{request{method: "POST", path: "/tokens/dataplane", body: body}, status, say}
}

func yamlPut(body string, say string) badInput {
	return badInput{request{method: "PUT", path: webPath, body: body, contentType: "application/yaml"}, 400, say}
}

func read(path string, status int, say string) badInput {
	return badInput{request{method: "GET", path: path}, status, say}
}

// Whatever is wrong with a request, the answer says what, and nothing is written.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default/dataplanes/live", dataplaneJSON("live", "live"))
	s.mustPut("/meshes/default", mtlsOn)
	before := s.contents()
	for group, rows := range map[string][]badInput{
		"body":       badBodies(),
		"yaml":       badYAML(),
		"path":       badPaths(),
		"dataplane":  badDataplanes(),
		"permission": badPermissions(),
		"mesh":       badMeshes(),
		"token":      badTokens(),
		"query":      badQueries(),
		"method":     badMethods(),
	} {
		for i, row := range rows {
			t.Run(fmt.Sprintf("%s/%d", group, i), func(t *testing.T) {
				since := len(s.log.String())
				r := s.send(row.request)
				if row.method != "GET" && row.method != "OPTIONS" {
					wantLine(t, audited(s.log, since), "outcome=refused")
				}
				r.wantProblem(t, row.status, row.say)
				if diff := cmp.Diff(before, s.contents()); diff != "" {
					t.Errorf("%s %s wrote something: %s", row.method, row.path, diff)
				}
			})
		}
	}
}

func badBodies() []badInput {
	put := func(body, say string) badInput {
		return badInput{request{method: "PUT", path: webPath, body: body}, 400, say}
	}
	good := dataplaneJSON("web-1", "web")
	media := func(contentType, body string) badInput {
		return badInput{request{method: "PUT", path: webPath, body: body, contentType: contentType}, 415, "Content-Type"}
	}
	encoded := badInput{request{method: "PUT", path: webPath, body: "\x1f\x8b", header: http.Header{"Content-Encoding": {"gzip"}}}, 415, "Content-Encoding"}
	return []badInput{
		{request{method: "PUT", path: webPath, contentType: "application/json"}, 400, "empty"},
		put("null", "line 1"), put("[]", "line 1"), put(`"x"`, "line 1"), put(good[:40], "line 1"),
		put(good+good, "line 1"), put(good+"\n---\n"+good, "second document"),
		webPut(`"type":"Dataplane"`, `"type":"Dataplane","kind":"x"`, 400, `unknown field "kind"`),
		webPut(`"servicePort"`, `"serviceport"`, 400, "write servicePort"),
		webPut(`"name":"web-1"`, `"name":"web-1","name":"web-2"`, 400, "twice"),
		webPut(`"name"`, `"NAME"`, 400, "write name"),
		webPut(`"name":"web-1"`, `"name":false`, 400, "name"),
		webPut(`"name":"web-1"`, `"name":"web-2"`, 400, "make them the same"),
		webPut(`"mesh":"default"`, `"mesh":"m2"`, 400, "make them the same"),
		{request{method: "PUT", path: webPath, body: permission}, 400, "make them the same"},
		webPut(`"type":"Dataplane"`, `"type":"GlobalSecret"`, 400, "type"),
		webPut(`"type":"Dataplane",`, ``, 400, "type"),
		{request{method: "PUT", path: webPath, body: strings.Repeat("[", 100_000)}, 400, "line 1"},
		{request{method: "PUT", path: webPath, body: good + strings.Repeat(" ", 1<<20)}, 413, "1 MiB"},
		encoded, media("text/plain", good), media("none", good), media("application/x-www-form-urlencoded", good),
		media("multipart/form-data; boundary=x", good), media(",", good),
	}
}

func badYAML() []badInput {
	good := "type: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 192.168.0.1\n  inbound:\n  - port: 80\n    servicePort: 81\n    tags: {kuma.io/service: web}\n"
	change := func(old, now, say string) badInput {
		if !strings.Contains(good, old) {
			panic("nothing to replace: " + old)
		}
		return yamlPut(strings.Replace(good, old, now, 1), say)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
	rows := []badInput{
		change("servicePort: 81", "servicePort: 81\n    servicePort: 82", "twice"),
		change("mesh: default", "mesh: !!binary eA==", "tag"),
		change("mesh: default", "mesh: &m default", "anchor"),
		change("mesh: default", "mesh: default\n<<: {name: x}", "<<"),
		change("name: web-1", "name: web-1\n---\ntype: Mesh\nname: m2", "second document"),
		change("port: 80", "port: 080", "port"),
		change("port: 80", "port: \"80\"", "port"),
		yamlPut(bomb, "line 1"),
		yamlPut("# nothing\n", "empty"),
	}
	for _, word := range []string{"no", "on", "1e3", "010", "0x10", "~", "yes", "12:30"} {
		rows = append(rows, change("name: web-1", "name: "+word, "name"))
	}
	return rows
}

func badPaths() []badInput {
	var rows []badInput
	for _, name := range []string{strings.Repeat("a", 254), "A", "a_b", "-a", "a-", "a..b", "web;x=1", "web.", "%C3%A9", "%F0%9F%98%80", "%E2%80%8F", "a%20b"} {
		path := "/meshes/default/dataplanes/" + name
		rows = append(rows, badInput{request{method: "PUT", path: path, body: dataplaneJSON("x", "x")}, 400, "name"}, read(path, 400, "name"))
	}
	for _, path := range []string{
		"/meshes/default/../default", "//meshes", "/meshes//default", "/%2e%2e/meshes", "/meshes/default/dataplanes/a%2fb", "/meshes/%64efault",
		"/meshes/./default", "/meshes/default/dataplanes/..", "//", "/meshes/default/dataplanes/a%2Fb",
	} {
		rows = append(rows, read(path, 400, "write it plainly"))
	}
	for _, path := range []string{"/meshes/", "/nope", "/meshes/default/nope", "/global_secrets", "/meshes/default/dataplanes/live/", "/tokens", "/meshes/default/secrets;x=1"} {
		rows = append(rows, read(path, 404, "Not found"))
	}
	return append(rows,
		read("/meshes/default/dataplanes/a%00b", 400, "name"),
		read("/meshes/nope/dataplanes", 404, "Failed to retrieve Mesh"),
		read("/meshes/nope/dataplanes/x", 404, "Failed to retrieve Mesh"),
		read("/meshes/a_b/dataplanes", 400, "mesh"),
		read("/meshes/nope", 404, "nope"),
		badInput{request{method: "PUT", path: "/meshes/nope/dataplanes/web-1", body: dataplaneJSON("web-1", "web")}, 404, "Failed to retrieve Mesh"},
		badInput{request{method: "DELETE", path: "/meshes/nope/dataplanes/web-1"}, 404, "Failed to retrieve Mesh"},
		badInput{request{method: "DELETE", path: "/meshes/default/dataplanes/web-1"}, 404, "web-1"},
		badInput{request{method: "DELETE", path: "/meshes/nope"}, 404, "nope"},
		badInput{request{method: "DELETE", path: "/meshes/default"}, 409, `"live"`},
		badInput{request{method: "PUT", path: "/meshes/a_b", body: `{"type":"Mesh","name":"a_b"}`}, 400, "name"},
	)
}

func badDataplanes() []badInput {
	var rows []badInput
	for _, v := range []string{"a/b", "a:b", "a b", "..", "", strings.Repeat("a", 300), "é", "*", "a%2fb"} {
		rows = append(rows, webPut(`"kuma.io/service":"web"`, `"kuma.io/service":"`+v+`"`, 400, "kuma.io/service"))
	}
	for _, port := range []string{"0", "-1", "65536", `"80"`, "80.5", "8e1", "null"} {
		rows = append(rows, webPut(`"port":8080`, `"port":`+port, 400, "port"))
	}
	for _, address := range []string{"0.0.0.0", "::", "1.2.3", "fe80::1%eth0", "", "host name", "192.168.0.1:80"} {
		rows = append(rows, webPut("192.168.0.1", address, 400, "networking.address"))
	}
	return append(rows,
		webPut(`"kuma.io/service":"web",`, ``, 400, "kuma.io/service"),
		webPut(`"version":"1"`, `"kuma.io/unheard-of":"1"`, 400, "reserved"),
		webPut(`"version":"1"`, `"version":1`, 400, "version"),
		webPut(`"version":"1"`, `"kuma.io/protocol":"smtp"`, 400, "protocol"),
		webPut(`}]}}`, `},{"port":8080,"servicePort":81,"tags":{"kuma.io/service":"b"}}]}}`, 400, "taken"),
		webPut(`"inbound"`, `"outbound":[{"address":"192.168.0.1","port":8080,"tags":{"kuma.io/service":"b"}}],"inbound"`, 400, "taken"),
		webPut(`"inbound"`, `"admin":{"port":8080},"inbound"`, 400, "admin"),
		webPut(`"inbound"`, `"gateway":{"tags":{"kuma.io/service":"gw"}},"inbound"`, 400, "gateway"),
	)
}

func badPermissions() []badInput {
	change := func(old, now, say string) badInput {
		if !strings.Contains(permission, old) {
			panic("nothing to replace: " + old)
		}
		return permissionPut(strings.Replace(permission, old, now, 1), 400, say)
	}
	return []badInput{
		change(`"sources":[{"match":{"kuma.io/service":"web"}}]`, `"sources":[]`, "sources"),
		change(`"sources":[{"match":{"kuma.io/service":"web"}}],`, ``, "sources"),
		change(`"sources"`, `"sorces"`, "sorces"),
		change(`{"kuma.io/service":"web"}`, `{}`, "sources[0].match"),
		change(`{"kuma.io/service":"web"}`, `{"*":"web"}`, "sources[0].match"),
		change(`{"kuma.io/service":"web"}`, `{"kuma.io/service":"a*"}`, "sources[0].match"),
		change(`{"kuma.io/service":"web"}`, `{"kuma.io/nope":"a"}`, "sources[0].match"),
		change(`{"kuma.io/service":"backend"}`, `{"kuma.io/service":"a*"}`, "destinations[0].match"),
		change(`{"kuma.io/service":"backend"}`, `null`, "destinations[0].match"),
		change(`,"destinations":[{"match":{"kuma.io/service":"backend"}}]`, ``, "destinations"),
	}
}

func badMeshes() []badInput {
	backend := func(conf string) string {
		return `{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin",` + conf + `}]}`
	}
	rows := []badInput{
		meshPut(`{"enabledBackend":"ca-2","backends":[{"name":"ca-1","type":"builtin"}]}`, 400, "mtls.enabledBackend"),
		meshPut(`{"enabledBackend":"ca-2","backends":[{"name":"ca-2","type":"builtin"}]}`, 409, "kumactl rotate ca"),
		meshPut(`{"enabledBackend":"ca-1","backends":[]}`, 400, "mtls.enabledBackend"),
		meshPut(`{"backends":[{"name":"ca-1","type":"builtin"},{"name":"ca-1","type":"builtin"}]}`, 400, "mtls.backends"),
		meshPut(`{"backends":[{"name":"ca-1","type":"magic"}]}`, 400, "type"),
		meshPut(`{"enabled_backend":"ca-1"}`, 400, "enabled_backend"),
		meshPut(backend(`"mode":"PERHAPS"`), 400, "mode"),
		meshPut(backend(`"conf":{"caCert":{"RSAbits":1024}}`), 400, "RSAbits"),
		meshPut(backend(`"dpCert":{"rotation":{"expiration":"2h"}},"conf":{"caCert":{"expiration":"1h"}}`), 400, "longer than its CA"),
	}
	rows = append(rows, meshPut(backend(`"dpCert":{"rotation":{"expiration":"0s"}}`), 400, "mtls.backends[0].dpCert.rotation.expiration"))
	for _, life := range []string{"-1h", "1000000000h", "24", "1s", ""} {
		rows = append(rows, meshPut(backend(`"dpCert":{"rotation":{"expiration":"`+life+`"}}`), 400, "mtls.backends[0].dpCert.rotation.expiration"),
			meshPut(backend(`"conf":{"caCert":{"expiration":"`+life+`"}}`), 400, "mtls.backends[0].conf.caCert.expiration"))
	}
	return rows
}

func badTokens() []badInput {
	body := func(more string) string { return `{"mesh":"default","validFor":"1h",` + more + `}` }
	rows := []badInput{
		tokenPost(``, 415, "Content-Type"), tokenPost(`{}`, 400, "mesh"), tokenPost(`{"mesh":""}`, 400, "mesh"),
		tokenPost(`{"mesh":"nope","validFor":"1h"}`, 400, "there is no mesh"), tokenPost(`{"mesh":"De"}`, 400, "mesh"),
		tokenPost(body(`"tags":{"k":[]}`), 400, `tags["k"]`), tokenPost(body(`"tags":{"k":[""]}`), 400, `tags["k"]`),
		tokenPost(body(`"tags":{"":["x"]}`), 400, "tags"), tokenPost(body(`"tags":{"k":"x"}`), 400, "tags"),
		tokenPost(body(`"tags":{"k":["a/b"]}`), 400, `tags["k"]`), tokenPost(body(`"tags":{"k":["*"]}`), 400, `tags["k"]`),
		tokenPost(body(`"tags":{"k":["`+manyValues()+`"]}`), 400, "4096 bytes"),
		tokenPost(body(`"type":"admin"`), 400, "type"), tokenPost(body(`"name":"A_b"`), 400, "name"),
		tokenPost(body(`"Name":"x"`), 400, "write name"), tokenPost(body(`"workload":"x"`), 400, "workload"),
		tokenPost(`{"mesh":"default"}{"mesh":"default"}`, 400, "line 1"),
	}
	for _, life := range []string{"0", "0s", "-1h", "1000000h", "87601h", "1d", "1", "10ms", "forever"} {
		rows = append(rows, tokenPost(`{"mesh":"default","validFor":"`+life+`"}`, 400, "validFor"))
	}
	return rows
}

// manyValues are more values of a tag than fit in a token.
func manyValues() string {
	var values []string
	for i := range 1000 {
		values = append(values, fmt.Sprintf("v%d", i))
	}
	return strings.Join(values, `","`)
}

func badQueries() []badInput {
	var rows []badInput
	for _, q := range []string{"size=-1", "size=0", "size=1e9", "size=1001", "size=", "offset=abc", "offset=-1", "offset=9999999999", "offset=k", "offset=kAAAA", "offset=kAAAAAAAAAAAAAA", "offset=k%25", "x=1",
		"size=1&size=2", "tag=web", "tag=:", "Size=1", "size=1;offset=2", "%zz", "gateway=maybe", "gateway=", "filter[labels.a=b", "filter[name]=b",
		"filter[labels.a]=b&filter[labels.a]=c"} {
		rows = append(rows, read("/meshes/default/dataplanes?"+q, 400, ""), read("/meshes/default/dataplanes/_overview?"+q, 400, ""))
	}
	return append(rows, read("/meshes?tag=a:b", 400, "tag"), read("/meshes?gateway=true", 400, "gateway"),
		read(webPath+"?format=k8s", 400, "Kubernetes"), read(webPath+"?format=yaml", 400, "query"),
		read("/meshes/default/dataplane-tokens?filter[labels.a]=b", 400, "filter"), read("/service-insights?filter[labels.a]=b", 400, "filter"),
		badInput{request{method: "PUT", path: webPath + "?force=1", body: dataplaneJSON("web-1", "web")}, 400, "query"},
		badInput{request{method: "DELETE", path: "/meshes/default/dataplanes/live?dry-run=1"}, 400, "query"},
	)
}

func badMethods() []badInput {
	var rows []badInput
	for _, m := range []string{"TRACE", "CONNECT", "PATCH", "OPTIONS", "POST", "FOO"} {
		rows = append(rows, badInput{request{method: m, path: "/meshes/default/dataplanes/live"}, 405, m})
	}
	override := http.Header{"X-Http-Method-Override": {"DELETE"}}
	return append(rows,
		badInput{request{method: "POST", path: "/meshes/default/dataplanes/live", header: override}, 405, "POST"},
		badInput{request{method: "PUT", path: "/meshes/default/dataplanes", body: "{}"}, 405, "PUT"},
		badInput{request{method: "GET", path: "/tokens/dataplane"}, 405, "GET"},
		badInput{request{method: "DELETE", path: "/"}, 405, "DELETE"},
	)
}
