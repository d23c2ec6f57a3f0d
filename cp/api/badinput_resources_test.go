package api_test

import "strings"

func meshPut(mtls string, status int, say string) badInput {
	body := `{"type":"Mesh","name":"default","mtls":` + mtls + `}`
	return badInput{request{method: "PUT", path: "/meshes/default", body: body}, status, say}
}

func oneMeshTrafficPermission() document {
	return document{"/meshes/default/meshtrafficpermissions/p", `{"type":"MeshTrafficPermission","mesh":"default","name":"p","spec":{` +
		`"targetRef":{"kind":"MeshSubset","tags":{"v":"1"}},"from":[{"targetRef":{"kind":"MeshService","name":"web"},"default":{"action":"Allow"}}]}}`, ""}
}

// badResources are the lines about what a resource says.
func badResources() map[string][]badInput {
	web := webJSON()
	service := func(values ...string) (rows []badInput) {
		for _, v := range values {
			rows = append(rows, web.with(`"kuma.io/service":"web"`, `"kuma.io/service":"`+v+`"`, "kuma.io/service"))
		}
		return rows
	}
	return map[string][]badInput{
		"15 permission of nothing, or all": emptyPermissions(),
		"16 pattern":                       patterns(),
		"17 tag value":                     service("a/b", "a:b", "a b", "..", "", strings.Repeat("a", 300), "é", "*", "a%2fb"),
		"18 tag": {
			web.with(`"kuma.io/service":"web",`, ``, "kuma.io/service"), web.with(`"version":"1"`, `"kuma.io/unheard-of":"1"`, "reserved"),
			web.with(`"version":"1"`, `"version":1`, "version"), web.with(`"version":"1"`, `"kuma.io/protocol":"smtp"`, "protocol"),
			web.with(`"version":"1"`, `"kuma.io/zone":"2"`, "one zone"), web.with(`"version":"1"`, `"a b":"1"`, "the name must be"),
			web.with(`"inbound"`, `"gateway":{"tags":{"kuma.io/service":"gw"}},"inbound"`, "gateway"),
		},
		"19 port":             badPorts(),
		"20 address":          badAddresses(),
		"21 backend":          badBackends(),
		"22 CA that is given": badCAs(),
		"23 life":             badLives(),
	}
}

func emptyPermissions() []badInput {
	p, m := onePermission(), oneMeshTrafficPermission()
	const web, from = `{"kuma.io/service":"web"}`, `"from":[{"targetRef":{"kind":"MeshService","name":"web"},"default":{"action":"Allow"}}]`
	return []badInput{
		p.with(`"sources":[{"match":`+web+`}]`, `"sources":[]`, "sources"), p.with(`"sources":[{"match":`+web+`}],`, ``, "sources"),
		p.with(web, `{}`, "sources[0].match"), p.with(web, `{"*":"web"}`, "sources[0].match"), p.with(web, `{"kuma.io/nope":"a"}`, "sources[0].match"),
		p.with(`{"kuma.io/service":"backend"}`, `null`, "destinations[0].match"),
		p.with(`,"destinations":[{"match":{"kuma.io/service":"backend"}}]`, ``, "destinations"),
		m.with(from, `"from":[]`, "must have from or rules"), m.with(from, `"rules":[]`, "must have from or rules"),
		m.with(from, `"rules":[{"default":{}}]`, "spec.rules[0].default"), m.with(from, `"rules":[{"default":{"allow":[{}]}}]`, "spiffeID"),
		m.with(`{"v":"1"}`, `{}`, "spec.targetRef.tags"), m.with(`{"v":"1"}`, `{"*":"1"}`, "spec.targetRef.tags"),
		m.with(`,"name":"web"}`, `}`, "spec.from[0].targetRef.name"), m.with(`"MeshService"`, `"Meshservice"`, "spec.from[0].targetRef.kind"),
		m.with(`"Allow"`, `"allow"`, "default.action"), m.with(`{"action":"Allow"}`, `{}`, "default.action"),
		m.with(from, `"rules":[{"default":{"allow":[{"spiffeID":{"type":"Prefix","value":""}}]}}]`, "another trust domain"),
		m.with(from, `"rules":[{"default":{"allow":[{"spiffeID":{"type":"Exact","value":"spiffe://other/web"}}]}}]`, "another trust domain"),
	}
}

func patterns() []badInput {
	p, m := onePermission(), oneMeshTrafficPermission()
	return []badInput{
		p.with(`{"kuma.io/service":"web"}`, `{"kuma.io/service":"a*"}`, "sources[0].match"),
		p.with(`{"kuma.io/service":"backend"}`, `{"kuma.io/service":"a*"}`, "destinations[0].match"),
		p.with(`{"kuma.io/service":"backend"}`, `{"kuma.io/service":"**"}`, "destinations[0].match"),
		m.with(`"v":"1"`, `"v":"1*"`, "spec.targetRef.tags"), m.with(`"name":"web"`, `"name":"we*"`, "spec.from[0].targetRef.name"),
		m.with(`"name":"web"`, `"name":"*"`, "spec.from[0].targetRef.name"),
	}
}

func badPorts() []badInput {
	web := webJSON()
	var rows []badInput
	for _, port := range []string{"0", "-1", "65536", `"80"`, "80.5", "8e1", "null"} {
		rows = append(rows, web.with(`"port":8080`, `"port":`+port, "port"))
	}
	return append(rows,
		web.with(`}]}}`, `},{"port":8080,"servicePort":81,"tags":{"kuma.io/service":"b"}}]}}`, "taken"),
		web.with(`"inbound"`, `"outbound":[{"address":"192.168.0.1","port":8080,"tags":{"kuma.io/service":"b"}}],"inbound"`, "taken"),
		web.with(`"inbound"`, `"admin":{"port":8080},"inbound"`, "admin"),
	)
}

// badAddresses leave out 127.0.0.1: a control plane, which several machines may share, cannot know from where nobody comes.
func badAddresses() []badInput {
	var rows []badInput
	for _, address := range []string{"0.0.0.0", "::", "1.2.3", "fe80::1%eth0", "", "host name", "web.example.com", "192.168.0.1:80", "224.0.0.1", "010.0.0.1"} {
		rows = append(rows, webJSON().with("192.168.0.1", address, "networking.address"))
	}
	return rows
}

func oneBackend(conf string) string {
	return `{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin",` + conf + `}]}`
}

func badBackends() []badInput {
	return []badInput{
		meshPut(`{"enabledBackend":"ca-2","backends":[{"name":"ca-1","type":"builtin"}]}`, 400, "mtls.enabledBackend"),
		meshPut(`{"enabledBackend":"ca-2","backends":[{"name":"ca-2","type":"builtin"}]}`, 409, "kumactl rotate ca"),
		meshPut(`{"enabledBackend":"ca-1","backends":[]}`, 400, "mtls.enabledBackend"),
		meshPut(`{"backends":[{"name":"ca-1","type":"builtin"},{"name":"ca-1","type":"builtin"}]}`, 400, "mtls.backends"),
		meshPut(`{"backends":[{"name":"ca-1","type":"magic"}]}`, 400, "type"),
		meshPut(`{"enabled_backend":"ca-1"}`, 400, "enabled_backend"),
		meshPut(oneBackend(`"mode":"PERHAPS"`), 400, "mode"),
		meshPut(oneBackend(`"conf":{"caCert":{"RSAbits":1024}}`), 400, "RSAbits"),
	}
}

// badCAs are some of those that package authority refuses, where its tests have them all.
func badCAs() []badInput {
	given := func(cert, key, say string) badInput {
		return badInput{request{method: "PUT", path: "/meshes/default", body: providedMesh("ca-1", cert, key)}, 400, say}
	}
	return []badInput{
		given(`"secret":"nowhere"`, `"secret":"nowhere"`, "there is no secret"),
		given(`"inlineString":"`+strings.Repeat("-", 1<<20-1000)+`"`, `"inlineString":"x"`, "mtls.backends[0].conf.cert"),
		given(`"inlineString":"no PEM"`, `"inlineString":"x"`, "mtls.backends[0].conf.cert"),
		given(`"inline":"§"`, `"inlineString":"x"`, "base64"),
		given(`"file":"/dev/zero"`, `"file":"/dev/zero"`, "not a regular file"),
		given(``, `"inlineString":"x"`, "exactly one of"),
	}
}

func badLives() []badInput {
	rows := []badInput{
		meshPut(oneBackend(`"dpCert":{"rotation":{"expiration":"0s"}}`), 400, "mtls.backends[0].dpCert.rotation.expiration"),
		meshPut(oneBackend(`"dpCert":{"rotation":{"expiration":"2h"}},"conf":{"caCert":{"expiration":"1h"}}`), 400, "longer than its CA"),
	}
	for _, life := range []string{"-1h", "1e9h", "1000000000h", "24", "1s", ""} {
		rows = append(rows, meshPut(oneBackend(`"dpCert":{"rotation":{"expiration":"`+life+`"}}`), 400, "mtls.backends[0].dpCert.rotation.expiration"),
			meshPut(oneBackend(`"conf":{"caCert":{"expiration":"`+life+`"}}`), 400, "mtls.backends[0].conf.caCert.expiration"))
	}
	return rows
}
