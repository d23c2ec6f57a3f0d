package api_test

import (
	"fmt"
	"strings"

	"koguma/cp/cptest"
)

func tokenPost(body string, status int, say string) badInput {
	return badInput{request{method: "POST", path: "/tokens/dataplane", body: body}, status, say}
}

// tokenBody asks for a token with something more.
func tokenBody(more string) string { return `{"mesh":"default","validFor":"1h",` + more + `}` }

// badSecrets are the lines about tokens and secrets.
func badSecrets() map[string][]badInput {
	return map[string][]badInput{
		"24 token":           badTokens(),
		"25 tags of a token": badTokenTags(),
		"26 name in a token": {
			tokenPost(tokenBody(`"name":"A_b"`), 400, "name"), tokenPost(tokenBody(`"name":"../x"`), 400, "name"), tokenPost(tokenBody(`"type":"admin"`), 400, "type"),
		},
		"27 secrets for others":  secretsForOthers(),
		"28 list of revocations": badRevocations(),
		"29 signing key":         badSigningKeys(),
		"29 global secret":       badGlobalSecrets(),
	}
}

func badTokens() []badInput {
	rows := []badInput{
		tokenPost(`{}`, 400, "mesh"), tokenPost(`{"mesh":""}`, 400, "mesh"), tokenPost(`{"mesh":"De"}`, 400, "mesh"),
		tokenPost(`{"mesh":"nope","validFor":"1h"}`, 400, "there is no mesh"), tokenPost(tokenBody(`"Name":"x"`), 400, "write name"),
		tokenPost(tokenBody(`"workload":"x"`), 400, "workload"), tokenPost(`{"mesh":"default"}{"mesh":"default"}`, 400, "line 1"),
	}
	for _, life := range []string{"0", "0s", "-1h", "1000000h", "87601h", "1d", "1", "10ms", "forever"} {
		rows = append(rows, tokenPost(`{"mesh":"default","validFor":"`+life+`"}`, 400, "validFor"))
	}
	return rows
}

// badTokenTags leave out values that come twice: one of them is as good.
func badTokenTags() []badInput {
	tags := func(tags, say string) badInput { return tokenPost(tokenBody(`"tags":{`+tags+`}`), 400, say) }
	return []badInput{
		tags(`"k":[]`, `tags["k"]`), tags(`"k":[""]`, `tags["k"]`), tags(`"":["x"]`, "tags"), tags(`"k":"x"`, "tags"), tags(`"k":["a/b"]`, `tags["k"]`),
		tags(`"k":["*"]`, `tags["k"]`), tags(`"k":["`+manyValues()+`"]`, "4096 bytes"),
	}
}

// manyValues are more values of a tag than fit in a token.
func manyValues() string {
	var values []string
	for i := range 1000 {
		values = append(values, fmt.Sprintf("v%d", i))
	}
	return strings.Join(values, `","`)
}

func secretsForOthers() []badInput {
	var rows []badInput
	for _, path := range []string{"/secrets", "/meshes/default/secrets", secretPath(cptest.KeyName(2)), secretPath("there-is-none"), "/globalsecrets", "/globalsecrets/x"} {
		rows = append(rows, badInput{request{method: "GET", path: path, peer: "192.168.0.9:40000"}, 403, "administrators"})
	}
	return rows
}

func badRevocations() []badInput {
	list := document{path: secretPath(revocationList)}
	long := list.refused(strings.Repeat(" ", 10<<20)+"{}", 413, "8 MiB")
	unannounced := long
	unannounced.chunked = true
	return []badInput{
		list.as(`{"type":"Secret","mesh":"default","name":"`+revocationList+`","data":"§"}`, "base64"),
		list.as(`{"type":"Secret","mesh":"default","name":"`+revocationList+`"}`, "data"),
		list.as(cptest.SecretJSON(revocationList, []byte("\x00\xff")), "entry 1"),
		list.as(cptest.SecretJSON(revocationList, []byte("a,"+strings.Repeat("b", 129))), "entry 2"),
		long, unannounced,
		{request{method: "POST", path: revocationsPath, body: `{"mesh":"default","ids":["a","b c"]}`}, 400, "ids[1]"},
		{request{method: "POST", path: revocationsPath, body: `{"mesh":"nope","ids":["a"]}`}, 400, "there is no mesh"},
	}
}

// badSigningKeys are about a mesh whose first key is gone, and whose second is the last.
func badSigningKeys() []badInput {
	put := func(name string, status int, say string) badInput {
		return document{path: secretPath(name)}.refused(cptest.SecretJSON(name, cptest.SigningKey()), status, say)
	}
	return []badInput{
		put(cptest.KeyName(0), 400, "serial number"), put(cptest.KeyName("02"), 400, "serial number"), put(cptest.KeyName(-3), 400, "serial number"),
		put(cptest.KeyName(1), 409, "number 3"), put(cptest.KeyName(4), 409, "number 3"), put("dataplane-token-signing-key-other-3", 400, "dataplane-token-signing-key-default-"),
		document{path: secretPath(cptest.KeyName(3))}.as(cptest.SecretJSON(cptest.KeyName(3), []byte("no key")), "signing key"),
		{request{method: "DELETE", path: secretPath(cptest.KeyName(2))}, 409, "last signing key"},
		{request{method: "DELETE", path: secretPath(cptest.KeyName(2)) + "?force=yes"}, 400, "query"},
	}
}

func badGlobalSecrets() []badInput {
	put := func(name, body, say string) badInput { return document{path: "/globalsecrets/" + name}.as(body, say) }
	var rows []badInput
	for _, name := range []string{"kuma-cp-ca-key", "signing-key-serial-default", cptest.KeyName(1), revocationList, "A_b"} {
		rows = append(rows, put(name, globalSecretJSON(name, "x"), "name"))
	}
	return append(rows, put("a", globalSecretJSON("a", ""), "data"), put("a", `{"type":"GlobalSecret","mesh":"default","name":"a","data":"eA=="}`, "mesh"),
		put("a", globalSecretJSON("b", "x"), "make them the same"), put("a", cptest.SecretJSON("a", []byte("x")), "make them the same"))
}
