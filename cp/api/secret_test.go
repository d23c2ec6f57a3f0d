package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/token"
)

func secretJSON(name string, data []byte) string {
	return fmt.Sprintf(`{"type":"Secret","mesh":"default","name":%q,"data":%q}`, name, base64.StdEncoding.EncodeToString(data))
}

func secretPath(name string) string { return "/meshes/default/secrets/" + name }

// keyName is the name of a signing key of the mesh "default".
func keyName(serial any) string { return fmt.Sprintf("dataplane-token-signing-key-default-%v", serial) }

func newKey(t *testing.T) []byte {
	t.Helper()
	pem, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

// An administrator reads the content of an ordinary secret; that of a key nobody does; and a list has names only.
func TestSecretReading(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default", mtlsOn)
	s.mustPut(secretPath("dataplane-token-revocations-default"), secretJSON("dataplane-token-revocations-default", []byte("some-jti")))
	for name, readable := range map[string]bool{
		"dataplane-token-revocations-default": true,
		"default.ca-builtin-cert-ca-1":        true,
		"default.ca-builtin-key-ca-1":         false,
		keyName(1):                            false,
	} {
		r := s.get(secretPath(name))
		if r.status != 200 || !strings.Contains(r.body, name) || strings.Contains(r.body, `"data"`) != readable {
			t.Errorf("GET %s: %d %s, its content readable: %v", name, r.status, r.body, readable)
		}
	}
	for _, path := range []string{"/secrets", "/meshes/default/secrets"} {
		r := s.get(path)
		if r.status != 200 || !strings.Contains(r.body, `"total":4`) || strings.Contains(r.body, `"data"`) {
			t.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
	}
}

// Keys are put in one after the other, and are not replaced.
func TestSigningKeySerials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	second, third := newKey(t), newKey(t)
	for _, c := range []struct {
		method, name string
		data         []byte
		status       int
		say          string
	}{
		{"PUT", keyName(1), signingKey(), 200, ""}, // the same again
		{"PUT", keyName(1), second, 409, "another key"},
		{"PUT", keyName(3), third, 409, "number 2"},
		{"PUT", keyName(0), second, 400, "serial number"},
		{"PUT", keyName("02"), second, 400, "serial number"},
		{"PUT", keyName("x"), second, 400, "serial number"},
		{"PUT", keyName("-2"), second, 400, "serial number"},
		{"PUT", keyName("0002"), second, 400, "serial number"},
		{"PUT", "dataplane-token-signing-key-default", second, 400, "serial number"},
		{"PUT", "dataplane-token-signing-key", second, 400, "serial number"},
		{"PUT", keyName(2), smallKey(t), 400, "1024 bits"},
		{"PUT", "dataplane-token-signing-key-other-2", second, 400, "dataplane-token-signing-key-default-"},
		{"PUT", keyName(2), []byte("no key"), 400, "signing key"},
		{"DELETE", keyName(1), nil, 409, "last signing key"},
		{"PUT", keyName(2), second, 201, ""},
		{"PUT", keyName(3), third, 201, ""},
		{"DELETE", keyName(2), nil, 200, ""},
		{"PUT", keyName(2), second, 409, "number 4"}, // lower than the newest
		{"DELETE", keyName(1), nil, 200, ""},
		{"DELETE", keyName(3), nil, 409, "rotate signing-key --mesh default"},
		{"DELETE", keyName(9), nil, 404, keyName(9)},
		{"PUT", keyName(4), second, 201, ""},
		{"DELETE", keyName(4), nil, 200, ""},
		{"PUT", keyName(4), second, 409, "number 5"}, // tokens are out that name the other 4
		{"PUT", keyName(5), second, 201, ""},
	} {
		before := s.contents()
		r := s.send(request{method: c.method, path: secretPath(c.name), body: secretJSON(c.name, c.data)})
		if c.status > 299 {
			r.wantProblem(t, c.status, c.say)
			if diff := cmp.Diff(before, s.contents()); diff != "" {
				t.Error(diff)
			}
		} else if r.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.name, r.status, r.body, c.status)
		}
	}
}

// smallKey is a signing key that is too small to be one.
func smallKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// The last signing key goes by force only. No other comes by itself then, and none ever has its number.
func TestLastSigningKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	last := secretPath(keyName(1))
	s.send(request{method: "DELETE", path: last}).wantProblem(t, 409, "--force")
	s.send(request{method: "DELETE", path: last + "?force=false"}).wantProblem(t, 409, "--force")
	if r := s.send(request{method: "DELETE", path: last + "?force=true"}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	s.mustPut("/meshes/default", mtlsOn)
	if r := s.get("/meshes/default/signing-keys"); !strings.Contains(r.body, `"total":0`) {
		t.Errorf("a change of the mesh made a signing key: %s", r.body)
	}
	s.put(last, secretJSON(keyName(1), signingKey())).wantProblem(t, 409, "number 2")
	s.mustPut(secretPath(keyName(2)), secretJSON(keyName(2), signingKey()))

	s.send(request{method: "DELETE", path: secretPath(keyName(2)) + "?force=true"})
	s.send(request{method: "DELETE", path: "/meshes/default"})
	if left := s.contents(); len(left) != 0 {
		t.Errorf("the mesh left %v", left)
	}
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	if r := s.get(last); r.status != 200 {
		t.Errorf("a new mesh of an old name has no key: %d %s", r.status, r.body)
	}
}

// Force is for secrets, and is written in one way.
func TestForceQuery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	s.mustPut(secretPath("s"), secretJSON("s", []byte("x")))
	before := s.contents()
	for path, say := range map[string]string{
		webPath + "?force=true":            "no query parameters",
		"/meshes/default?force=true":       "no query parameters",
		secretPath("s") + "?force":         "force, true or false",
		secretPath("s") + "?force=1":       "force, true or false",
		secretPath("s") + "?force=true&x=": "force, true or false",
		secretPath("s") + "?dry-run=true":  "force, true or false",
	} {
		s.send(request{method: "DELETE", path: path}).wantProblem(t, 400, say)
	}
	s.send(request{method: "PUT", path: secretPath("s") + "?force=true", body: secretJSON("s", []byte("y"))}).wantProblem(t, 400, "query")
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
	if r := s.send(request{method: "DELETE", path: secretPath("s") + "?force=true"}); r.status != 200 {
		t.Errorf("a secret that nobody needs: %d %s", r.status, r.body)
	}
}

// The secrets of a CA are the control plane's, and stay while they are in use.
func TestCASecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default", mtlsOn)
	cert, key := policy.CACertName("default", "ca-1"), policy.CAKeyName("default", "ca-1")
	for _, name := range []string{cert, key} {
		s.put(secretPath(name), secretJSON(name, []byte("x"))).wantProblem(t, 400, "makes the secrets")
		s.send(request{method: "DELETE", path: secretPath(name)}).wantProblem(t, 400, "disable mTLS first")
	}
	s.put(secretPath("default.ca-builtin-key-ca-2"), secretJSON("default.ca-builtin-key-ca-2", []byte("x"))).wantProblem(t, 400, "makes the secrets")
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	if r := s.send(request{method: "DELETE", path: secretPath(key)}); r.status != 200 {
		t.Errorf("unused, but not deleted: %d %s", r.status, r.body)
	}
}

// A known secret appears nowhere: not in an answer, not in the log, however it was sent.
func TestCanary(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a9c1e5b"
	s := newServer(t)
	encoded := base64.StdEncoding.EncodeToString([]byte(canary + canary))
	quoted := func(data string) string {
		return `{"type":"Secret","mesh":"default","name":"s","data":` + data + `}`
	}
	var seen []string
	for _, r := range []request{
		{method: "PUT", path: secretPath("s"), body: quoted(`"` + encoded + `"`)},
		{method: "PUT", path: secretPath("s"), body: quoted(`"` + canary + `"`)},
		{method: "PUT", path: secretPath("s"), body: quoted(`"` + encoded + `!"`)},
		{method: "PUT", path: secretPath("s"), body: quoted(`["` + canary + `"]`)},
		{method: "PUT", path: secretPath("s"), body: quoted(`{"` + canary + `":1}`)},
		{method: "PUT", path: secretPath("s"), body: quoted(canary)},
		{method: "PUT", path: secretPath("s"), body: "type: Secret\nmesh: default\nname: s\ndata: " + canary, contentType: "application/yaml"},
		{method: "PUT", path: secretPath("s"), body: "type: Secret\nmesh: default\nname: s\ndata: !!binary " + canary, contentType: "application/yaml"},
		{method: "PUT", path: secretPath("t"), body: quoted(`"` + encoded + `"`)},
		{method: "PUT", path: secretPath(keyName(2)), body: secretJSON(keyName(2), []byte(canary))},
		{method: "PUT", path: secretPath(keyName(2)), body: secretJSON(keyName(2), []byte("-----BEGIN RSA PRIVATE KEY-----\n"+canary+"\n-----END RSA PRIVATE KEY-----\n"))},
		{method: "GET", path: "/secrets"},
		{method: "GET", path: "/config"},
		{method: "DELETE", path: secretPath("s")},
	} {
		seen = append(seen, s.send(r).body)
	}
	seen = append(seen, s.log.String())
	for _, text := range seen {
		if strings.Contains(text, canary) || strings.Contains(text, encoded[:24]) {
			t.Errorf("the secret is in %s", text)
		}
	}
	if !strings.Contains(s.log.String(), "object="+secretPath("s")) {
		t.Error("the log has no audit lines, so it proves nothing")
	}
}

// A token is in the one answer that is for whoever asked, and kept nowhere.
func TestTokenIsNotKept(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.send(request{method: "POST", path: "/tokens/dataplane", body: `{"mesh":"default","validFor":"1h"}`})
	for _, part := range strings.Split(r.body, ".") {
		if strings.Contains(s.log.String(), part) {
			t.Errorf("the token is in the log: %s", s.log)
		}
	}
	for what, text := range s.contents() {
		if strings.Contains(text, r.body) {
			t.Errorf("the token is kept in %s", what)
		}
	}
}
