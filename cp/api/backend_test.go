package api_test

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/policy"
)

// pair is certificate and key of a new CA.
func pair(t *testing.T) (ca *certs.CA, cert, key []byte) {
	t.Helper()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "given", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if key, err = ca.KeyPEM(); err != nil {
		t.Fatal(err)
	}
	return ca, ca.CertPEM(), key
}

// providedMesh is the mesh "default" with these sources in its one backend, enabled or not.
func providedMesh(enabled, cert, key string) string {
	return fmt.Sprintf(`{"type":"Mesh","name":"default","mtls":{"enabledBackend":%q,"backends":[{"name":"ca-1","type":"provided","conf":{"cert":{%s},"key":{%s}}}]}}`,
		enabled, cert, key)
}

func inline(pem []byte) string { return fmt.Sprintf(`"inlineString":%q`, pem) }

func sealedName() string { return policy.ProvidedKeyName("default", "ca-1") }

// A key that is given in the Mesh goes into a secret that nobody can read, and the Mesh refers to that.
func TestInlineKeyIsSealed(t *testing.T) {
	t.Parallel()
	for _, enabled := range []string{"ca-1", ""} {
		s := newServer(t)
		_, cert, key := pair(t)
		s.mustPut("/meshes/default", providedMesh(enabled, inline(cert), inline(key)))
		if got := secretData(t, s.store, "default", sealedName()); string(got) != string(key) {
			t.Error("the secret has something else")
		}
		first := s.contents()
		s.mustPut("/meshes/default", providedMesh(enabled, inline(cert), inline(key)))
		if diff := cmp.Diff(first, s.contents()); diff != "" {
			t.Errorf("the same again changed something: %s", diff)
		}
		shown := s.get("/meshes/default").Body
		s.mustPut("/meshes/default", shown)
		if diff := cmp.Diff(first, s.contents()); diff != "" {
			t.Errorf("what is shown is not what was put: %s", diff)
		}
		if !strings.Contains(shown, `"key":{"secret":"`+sealedName()+`"}`) {
			t.Errorf("shown: %s", shown)
		}
		secret := s.get(secretPath(sealedName()))
		if secret.Status != 200 || strings.Contains(secret.Body, `"data"`) {
			t.Errorf("%d %s", secret.Status, secret.Body)
		}
		s.put(secretPath(sealedName()), cptest.SecretJSON(sealedName(), key)).WantProblem(t, 400, "makes the secrets")
		s.send(request{method: "DELETE", path: secretPath(sealedName())}).WantProblem(t, 400, `backend "ca-1"`)
		line := strings.Split(string(key), "\n")[1]
		for _, text := range []string{shown, s.get("/meshes").Body, s.get("/secrets").Body, s.log.String()} {
			if strings.Contains(text, line) {
				t.Errorf("the key is in %s", text)
			}
		}
		_, cert, key = pair(t)
		s.mustPut("/meshes/default", providedMesh(enabled, inline(cert), inline(key)))
		if got := secretData(t, s.store, "default", sealedName()); string(got) != string(key) {
			t.Error("another key was not taken up")
		}
	}
}

// A backend that could sign nothing is refused when it is put, enabled or not, and leaves nothing behind.
func TestProvidedIsCheckedAtPut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, cert, key := pair(t)
	_, _, other := pair(t)
	before := s.contents()
	for _, enabled := range []string{"ca-1", ""} {
		for _, test := range []struct{ cert, key, want string }{
			{inline(cert), inline(other), `"field":"mtls.backends[0].conf.key"`},
			{inline(cert), inline(other), "it is not the key of the CA certificate"},
			{inline(key), inline(key), `"field":"mtls.backends[0].conf.cert"`},
			{inline(cert), `"secret":"nowhere"`, "there is no secret"},
			{`"file":"/nowhere"`, inline(key), "the control plane cannot read it"},
			{inline(cert), `"secret":"a","file":"b"`, "exactly one of secret, file, inline and inlineString"},
			{inline(cert), `"password":"a"`, `"field":"mtls.backends[0].conf.key"`},
		} {
			r := s.put("/meshes/default", providedMesh(enabled, test.cert, test.key))
			r.WantProblem(t, 400, test.want)
			if strings.Contains(r.Body, strings.Split(string(key), "\n")[1]) {
				t.Errorf("the key is in %s", r.Body)
			}
		}
	}
	s.put("/meshes/default", strings.Replace(providedMesh("ca-1", inline(cert), inline(key)), `"mtls":{`, `"mtls":{"skipValidation":true,`, 1)).
		WantProblem(t, 400, "mtls.skipValidation")
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Error(diff)
	}
}

// Secrets that a backend refers to stay, stay good, and the key among them is shown to nobody.
func TestSecretsOfAProvidedCA(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ca, cert, key := pair(t)
	_, _, other := pair(t)
	s.mustPut(secretPath("c"), cptest.SecretJSON("c", cert))
	s.mustPut(secretPath("k"), cptest.SecretJSON("k", key))
	if body := s.get(secretPath("k")).Body; !strings.Contains(body, `"data"`) {
		t.Errorf("a secret like others: %s", body)
	}
	s.mustPut("/meshes/default", providedMesh("", `"secret":"c"`, `"secret":"k"`))
	if body := s.get(secretPath("k")).Body; strings.Contains(body, `"data"`) {
		t.Errorf("the CA's key: %s", body)
	}
	if body := s.get(secretPath("c")).Body; !strings.Contains(body, `"data"`) {
		t.Errorf("the CA's certificate: %s", body)
	}
	for _, name := range []string{"c", "k"} {
		s.put(secretPath(name), cptest.SecretJSON(name, other)).WantProblem(t, 400, `backend "ca-1" of mesh "default" uses this secret`)
		s.send(request{method: "DELETE", path: secretPath(name)}).WantProblem(t, 400, "then take this one out of the Mesh")
	}
	s.mustPut(secretPath("x"), cptest.SecretJSON("x", other))
	s.mustPut(secretPath("k"), cptest.SecretJSON("k", key))
	signer, err := certs.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	renewed := *ca.Certificate()
	renewed.SerialNumber = big.NewInt(7)
	der, err := x509.CreateCertificate(rand.Reader, &renewed, &renewed, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	again, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.mustPut(secretPath("c"), cptest.SecretJSON("c", certs.EncodeChain([]*x509.Certificate{again})))
	s.mustPut("/meshes/default", `{"type":"Mesh","name":"default"}`)
	for _, name := range []string{"c", "k"} {
		if r := s.send(request{method: "DELETE", path: secretPath(name)}); r.Status != 200 {
			t.Errorf("unused, but not deleted: %d %s", r.Status, r.Body)
		}
	}
}

// A backend does not come to refer to a secret that is just being deleted.
func TestProvidedWhileItsSecretGoes(t *testing.T) {
	t.Parallel()
	api := newServer(t)
	_, cert, key := pair(t)
	api.mustPut(secretPath("c"), cptest.SecretJSON("c", cert))
	api.mustPut(secretPath("k"), cptest.SecretJSON("k", key))
	s := &cptest.LateStore{Store: api.store, Late: func() {
		if err := (registry.Registry{Store: api.store}).Delete(t.Context(), cptest.Secret("k", nil).Key(), false); err != nil {
			t.Error(err)
		}
	}}
	m, err := policy.Parse([]byte(providedMesh("", `"secret":"c"`, `"secret":"k"`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (registry.Registry{Store: s}).Put(t.Context(), m); err == nil || !strings.Contains(err.Error(), `there is no secret "k"`) {
		t.Errorf("got %v", err)
	}
}
