package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/cptest"
	"koguma/policy"
)

func secretPath(name string) string { return "/meshes/default/secrets/" + name }

// An administrator reads the content of an ordinary secret; that of a key nobody does; and a list has names only.
func TestSecretReading(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default", mtlsOn)
	s.mustPut(secretPath("dataplane-token-revocations-default"), cptest.SecretJSON("dataplane-token-revocations-default", []byte("some-jti")))
	for name, readable := range map[string]bool{
		"dataplane-token-revocations-default": true,
		"default.ca-builtin-cert-ca-1":        true,
		"default.ca-builtin-key-ca-1":         false,
		cptest.KeyName(1):                     false,
	} {
		r := s.get(secretPath(name))
		if r.Status != 200 || !strings.Contains(r.Body, name) || strings.Contains(r.Body, `"data"`) != readable {
			t.Errorf("GET %s: %d %s, its content readable: %v", name, r.Status, r.Body, readable)
		}
	}
	for _, path := range []string{"/secrets", "/meshes/default/secrets"} {
		r := s.get(path)
		if r.Status != 200 || !strings.Contains(r.Body, `"total":4`) || strings.Contains(r.Body, `"data"`) {
			t.Errorf("GET %s: %d %s", path, r.Status, r.Body)
		}
	}
}

// Keys are put in one after the other, and are not replaced.
func TestSigningKeySerials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	second, third := cptest.NewKey(t), cptest.NewKey(t)
	for _, c := range []struct {
		method, name string
		data         []byte
		status       int
		say          string
	}{
		{"PUT", cptest.KeyName(1), cptest.SigningKey(), 200, ""}, // the same again
		{"PUT", cptest.KeyName(1), second, 409, "another key"},
		{"PUT", cptest.KeyName(3), third, 409, "number 2"},
		{"PUT", cptest.KeyName(0), second, 400, "serial number"},
		{"PUT", cptest.KeyName("02"), second, 400, "serial number"},
		{"PUT", cptest.KeyName("x"), second, 400, "serial number"},
		{"PUT", cptest.KeyName("-2"), second, 400, "serial number"},
		{"PUT", cptest.KeyName("0002"), second, 400, "serial number"},
		{"PUT", "dataplane-token-signing-key-default", second, 400, "serial number"},
		{"PUT", "dataplane-token-signing-key", second, 400, "serial number"},
		{"PUT", cptest.KeyName(2), smallKey(t), 400, "1024 bits"},
		{"PUT", "dataplane-token-signing-key-other-2", second, 400, "dataplane-token-signing-key-default-"},
		{"PUT", cptest.KeyName(2), []byte("no key"), 400, "signing key"},
		{"DELETE", cptest.KeyName(1), nil, 409, "last signing key"},
		{"PUT", cptest.KeyName(2), second, 201, ""},
		{"PUT", cptest.KeyName(3), third, 201, ""},
		{"DELETE", cptest.KeyName(2), nil, 200, ""},
		{"PUT", cptest.KeyName(2), second, 409, "number 4"}, // lower than the newest
		{"DELETE", cptest.KeyName(1), nil, 200, ""},
		{"DELETE", cptest.KeyName(3), nil, 409, "rotate signing-key --mesh default"},
		{"DELETE", cptest.KeyName(9), nil, 404, cptest.KeyName(9)},
		{"PUT", cptest.KeyName(4), second, 201, ""},
		{"DELETE", cptest.KeyName(4), nil, 200, ""},
		{"PUT", cptest.KeyName(4), second, 409, "number 5"}, // tokens are out that name the other 4
		{"PUT", cptest.KeyName(5), second, 201, ""},
	} {
		before := s.contents()
		r := s.send(request{method: c.method, path: secretPath(c.name), body: cptest.SecretJSON(c.name, c.data)})
		if c.status > 299 {
			r.WantProblem(t, c.status, c.say)
			if diff := cmp.Diff(before, s.contents()); diff != "" {
				t.Error(diff)
			}
		} else if r.Status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.name, r.Status, r.Body, c.status)
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
	last := secretPath(cptest.KeyName(1))
	s.send(request{method: "DELETE", path: last}).WantProblem(t, 409, "--force")
	s.send(request{method: "DELETE", path: last + "?force=false"}).WantProblem(t, 409, "--force")
	if r := s.send(request{method: "DELETE", path: last + "?force=true"}); r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	s.mustPut("/meshes/default", mtlsOn)
	if r := s.get("/meshes/default/signing-keys"); !strings.Contains(r.Body, `"total":0`) {
		t.Errorf("a change of the mesh made a signing key: %s", r.Body)
	}
	s.put(last, cptest.SecretJSON(cptest.KeyName(1), cptest.SigningKey())).WantProblem(t, 409, "number 2")
	s.mustPut(secretPath(cptest.KeyName(2)), cptest.SecretJSON(cptest.KeyName(2), cptest.SigningKey()))

	s.send(request{method: "DELETE", path: secretPath(cptest.KeyName(2)) + "?force=true"})
	s.send(request{method: "DELETE", path: "/meshes/default"})
	if left := s.contents(); len(left) != 0 {
		t.Errorf("the mesh left %v", left)
	}
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	if r := s.get(last); r.Status != 200 {
		t.Errorf("a new mesh of an old name has no key: %d %s", r.Status, r.Body)
	}
}

// Force is for secrets, and is written in one way.
func TestForceQuery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut(webPath, dataplaneJSON("web-1", "web"))
	s.mustPut(secretPath("s"), cptest.SecretJSON("s", []byte("x")))
	before := s.contents()
	for path, say := range map[string]string{
		webPath + "?force=true":            "no query parameters",
		"/meshes/default?force=true":       "no query parameters",
		secretPath("s") + "?force":         "force, true or false",
		secretPath("s") + "?force=1":       "force, true or false",
		secretPath("s") + "?force=true&x=": "force, true or false",
		secretPath("s") + "?dry-run=true":  "force, true or false",
	} {
		s.send(request{method: "DELETE", path: path}).WantProblem(t, 400, say)
	}
	s.send(request{method: "PUT", path: secretPath("s") + "?force=true", body: cptest.SecretJSON("s", []byte("y"))}).WantProblem(t, 400, "query")
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
	if r := s.send(request{method: "DELETE", path: secretPath("s") + "?force=true"}); r.Status != 200 {
		t.Errorf("a secret that nobody needs: %d %s", r.Status, r.Body)
	}
}

// The secrets of a CA are the control plane's, and stay while they are in use.
func TestCASecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mustPut("/meshes/default", mtlsOn)
	cert, key := policy.CACertName("default", "ca-1"), policy.CAKeyName("default", "ca-1")
	for _, name := range []string{cert, key} {
		s.put(secretPath(name), cptest.SecretJSON(name, []byte("x"))).WantProblem(t, 400, "makes the secrets")
		s.send(request{method: "DELETE", path: secretPath(name)}).WantProblem(t, 400, "disable mTLS first")
	}
	s.put(secretPath("default.ca-builtin-key-ca-2"), cptest.SecretJSON("default.ca-builtin-key-ca-2", []byte("x"))).WantProblem(t, 400, "makes the secrets")
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	if r := s.send(request{method: "DELETE", path: secretPath(key)}); r.Status != 200 {
		t.Errorf("unused, but not deleted: %d %s", r.Status, r.Body)
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
		{method: "PUT", path: secretPath(cptest.KeyName(2)), body: cptest.SecretJSON(cptest.KeyName(2), []byte(canary))},
		{method: "PUT", path: secretPath(cptest.KeyName(2)), body: cptest.SecretJSON(cptest.KeyName(2), []byte("-----BEGIN RSA PRIVATE KEY-----\n"+canary+"\n-----END RSA PRIVATE KEY-----\n"))},
		{method: "GET", path: "/secrets"},
		{method: "GET", path: "/config"},
		{method: "DELETE", path: secretPath("s")},
	} {
		seen = append(seen, s.send(r).Body)
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
	for _, part := range strings.Split(r.Body, ".") {
		if strings.Contains(s.log.String(), part) {
			t.Errorf("the token is in the log: %s", s.log)
		}
	}
	for what, text := range s.contents() {
		if strings.Contains(text, r.Body) {
			t.Errorf("the token is kept in %s", what)
		}
	}
}
