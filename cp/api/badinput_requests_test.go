package api_test

import (
	"net/http"
	"net/url"
	"strings"

	"koguma/cp/cptest"
)

// document is something to put, in which there is nothing wrong.
type document struct{ path, body, contentType string }

// as is the document with another body.
func (d document) as(body, say string) badInput { return d.refused(body, 400, say) }

// with is the document with something in its body replaced.
func (d document) with(old, now, say string) badInput {
	if !strings.Contains(d.body, old) {
		panic("nothing to replace: " + old)
	}
	return d.as(strings.Replace(d.body, old, now, 1), say)
}

func (d document) refused(body string, status int, say string) badInput {
	return badInput{request{method: "PUT", path: d.path, body: body, contentType: d.contentType}, status, say}
}

// sent is the document, with something wrong in how it is sent.
func (d document) sent(contentType string, header http.Header, status int, say string) badInput {
	return badInput{request{method: "PUT", path: d.path, body: d.body, contentType: contentType, header: header}, status, say}
}

func webJSON() document { return document{webPath, dataplaneJSON("web-1", "web"), ""} }

func webYAML() document {
	return document{webPath, "type: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 192.168.0.1\n" +
		"  inbound:\n  - port: 80\n    servicePort: 81\n    tags: {kuma.io/service: web}\n", "application/yaml"}
}

func onePermission() document { return document{permissionURL, cptest.Permission, ""} }

func read(path string, status int, say string) badInput {
	return badInput{request{method: "GET", path: path}, status, say}
}

// badRequests are the lines about a request itself.
func badRequests() map[string][]badInput {
	web, yaml := webJSON(), webYAML()
	return map[string][]badInput{
		"01 no document": {
			{request{method: "PUT", path: webPath, contentType: "application/json"}, 400, "empty"}, yaml.as("# nothing\n", "empty"),
			web.as("null", "line 1"), web.as("[]", "line 1"), web.as(`"x"`, "line 1"), web.as(web.body[:40], "line 1"),
		},
		"02 unknown field": {
			web.with(`"type":"Dataplane"`, `"type":"Dataplane","kind":"x"`, `unknown field "kind"`),
			web.with(`"address"`, `"adress"`, `networking: unknown field "adress"`),
			onePermission().with(`"sources"`, `"sorces"`, "sorces"),
			oneMeshTrafficPermission().with(`"tags"`, `"tag"`, "tag"),
		},
		"03 field given twice": {
			web.with(`"name":"web-1"`, `"name":"web-1","name":"web-2"`, "twice"), yaml.with("servicePort: 81", "servicePort: 81\n    servicePort: 82", "twice"),
		},
		"04 field in another case": {
			web.with(`"name"`, `"NAME"`, "write name"), web.with(`"servicePort"`, `"serviceport"`, "write servicePort"),
			onePermission().with(`"sources"`, `"Sources"`, "write sources"),
		},
		"05 ambiguous word": ambiguousWords(),
		"06 second document": {
			web.as(web.body+web.body, "line 1"), web.as(web.body+"\n---\n"+web.body, "second document"),
			yaml.with("name: web-1", "name: web-1\n---\ntype: Mesh\nname: m2", "second document"),
		},
		"07 anchor or tag": {
			yaml.with("mesh: default", "mesh: !!binary eA==", "tag"), yaml.with("mesh: default", "mesh: !!python/object:os.system x", "tag"),
			yaml.with("mesh: default", "mesh: &m default", "anchor"), yaml.with("mesh: default", "mesh: default\n<<: {name: x}", "<<"),
		},
		"08 bomb":                badBombs(),
		"09 long or packed":      longBodies(),
		"10 content type":        badContentTypes(),
		"11 not what the URL is": otherIdentities(),
		"12 name":                badNames(),
		"13 path":                badPaths(),
		"14 mesh that is not there, or is in use": {
			read("/meshes/nope/dataplanes", 404, "Failed to retrieve Mesh"), read("/meshes/nope/dataplanes/x", 404, "Failed to retrieve Mesh"),
			read("/meshes/nope", 404, "nope"),
			{request{method: "PUT", path: "/meshes/nope/dataplanes/web-1", body: web.body}, 404, "Failed to retrieve Mesh"},
			{request{method: "DELETE", path: "/meshes/nope/dataplanes/web-1"}, 404, "Failed to retrieve Mesh"},
			{request{method: "DELETE", path: webPath}, 404, "web-1"}, {request{method: "DELETE", path: "/meshes/nope"}, 404, "nope"},
			{request{method: "DELETE", path: "/meshes/default"}, 409, `"live"`},
		},
		"30 query":  badQueries(),
		"32 method": badMethods(),
		"33 origin": badOrigins(),
	}
}

func ambiguousWords() []badInput {
	yaml := webYAML()
	rows := []badInput{yaml.with("name: web-1", "name: ~", "name"), webJSON().with(`"name":"web-1"`, `"name":false`, "name")}
	for _, word := range []string{"no", "on", "1e3", "010", "0x10", "yes", "12:30"} {
		rows = append(rows, yaml.with("name: web-1", "name: "+word, "quote it"))
	}
	return append(rows, yaml.with("port: 80", "port: 080", "port"), yaml.with("port: 80", "port: 1e2", "port"), yaml.with("port: 80", `port: "80"`, "port"))
}

func badBombs() []badInput {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
	deep := strings.Repeat("[", 100_000)
	return []badInput{
		webYAML().as(bomb, "line 1"), webYAML().as(deep, "line 1"), webJSON().as(deep, "line 1"),
		webJSON().as(strings.Repeat(`{"a":`, 100_000), "line 1"), webYAML().as(strings.Repeat("- ", 100_000), "line 1"),
	}
}

func longBodies() []badInput {
	web := webJSON()
	long := web.refused(web.body+strings.Repeat(" ", 1<<20), 413, "1 MiB")
	unannounced := long
	unannounced.chunked = true
	return []badInput{long, unannounced, web.sent("", http.Header{"Content-Encoding": {"gzip"}}, 415, "Content-Encoding")}
}

func badContentTypes() []badInput {
	var rows []badInput
	for _, contentType := range []string{"text/plain", "none", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ","} {
		rows = append(rows, webJSON().sent(contentType, nil, 415, "Content-Type"))
	}
	return append(rows, tokenPost("", 415, "Content-Type"))
}

func otherIdentities() []badInput {
	web := webJSON()
	return []badInput{
		web.with(`"name":"web-1"`, `"name":"web-2"`, "make them the same"), web.with(`"name":"web-1"`, `"name":"../x"`, "make them the same"),
		web.with(`"mesh":"default"`, `"mesh":"m2"`, "make them the same"), web.as(cptest.Permission, "make them the same"),
		web.with(`"type":"Dataplane"`, `"type":"GlobalSecret"`, "type"), web.with(`"type":"Dataplane",`, ``, "type"),
	}
}

func badNames() []badInput {
	var rows []badInput
	for _, name := range []string{
		strings.Repeat("a", 254), "A", "a_b", "-a", "a-", "a..b", "web;x=1", "web.", "%C3%A9", "%F0%9F%98%80", "%E2%80%8F", "a%20b", "a%00b",
		"a%27b", "a%27;--", "a$1", "a%5Cb", "a%25b", "a%22b",
	} {
		path := "/meshes/default/dataplanes/" + name
		plain, _ := url.PathUnescape(name)
		rows = append(rows, badInput{request{method: "PUT", path: path, body: dataplaneJSON(plain, "x")}, 400, "name"}, read(path, 400, "name"))
	}
	return append(rows,
		badInput{request{method: "PUT", path: "/meshes/default/dataplanes/", body: webJSON().body}, 404, "Not found"},
		badInput{request{method: "PUT", path: "/meshes/default/dataplanes/a/b", body: webJSON().body}, 404, "Not found"},
		badInput{request{method: "PUT", path: "/meshes/a_b", body: `{"type":"Mesh","name":"a_b"}`}, 400, "name"},
		badInput{request{method: "PUT", path: "/meshes/" + strings.Repeat("a", 64), body: `{"type":"Mesh","name":"` + strings.Repeat("a", 64) + `"}`}, 400, "63"},
		read("/meshes/a_b/dataplanes", 400, "mesh"),
	)
}

func badPaths() []badInput {
	var rows []badInput
	for _, path := range []string{
		"/meshes/default/../default", "//meshes", "/meshes//default", "/%2e%2e/meshes", "/meshes/default/dataplanes/a%2fb", "/meshes/%64efault",
		"/meshes/./default", "/meshes/default/dataplanes/..", "//", "/meshes/default/dataplanes/a%2Fb",
	} {
		rows = append(rows, read(path, 400, "write it plainly"), badInput{request{method: "DELETE", path: path}, 400, "write it plainly"})
	}
	for _, path := range []string{"/meshes/", "/nope", "/meshes/default/nope", "/global_secrets", "/meshes/default/dataplanes/live/", "/tokens", "/meshes/default/secrets;x=1"} {
		rows = append(rows, read(path, 404, "Not found"), badInput{request{method: "DELETE", path: path}, 404, "Not found"})
	}
	return rows
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

func badOrigins() []badInput {
	rows := []badInput{{request{method: "DELETE", path: "/meshes/default/dataplanes/live", host: "evil.example"}, 403, "administrators"}}
	for name, value := range map[string]string{
		"Origin": "http://evil", "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1",
	} {
		rows = append(rows, webJSON().sent("", http.Header{name: {value}}, 403, "administrators"))
	}
	return rows
}
