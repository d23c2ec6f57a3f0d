package store_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"koguma/policy"
	"koguma/store"
	"koguma/store/storetest"
)

func TestSealedFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return openSealed(t, filepath.Join(t.TempDir(), "store.db"), newKeys(t, "a"))
	})
}

func openSealed(t testing.TB, path string, keys *store.Keys) store.Store {
	t.Helper()
	s, err := store.OpenSealedFile(path, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSecret(mesh, name, data string) *policy.Secret {
	return &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: mesh, Name: name}, Data: policy.Bytes(data)}
}

func signingKey(data string) *policy.Secret {
	return newSecret("default", policy.SigningKeyPrefix("default")+"1", data)
}

// newKeyPEM is a private key, and all forms in which it could be found.
func newKeyPEM(t *testing.T) (text string, forms map[string][]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(block), map[string][]byte{
		"PEM":                   block,
		"DER":                   der,
		"the key itself":        scalar,
		"DER in base64":         []byte(base64.StdEncoding.EncodeToString(der)[:48]),
		"PEM in base64":         []byte(base64.StdEncoding.EncodeToString(block)),
		"PEM in base64, partly": []byte(base64.StdEncoding.EncodeToString(block)[60:108]),
	}
}

// found are the forms that are in data.
func found(data []byte, forms map[string][]byte) []string {
	var names []string
	for name, form := range forms {
		if bytes.Contains(data, form) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func foundInFile(t *testing.T, path string, forms map[string][]byte) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return found(data, forms)
}

// With keys no secret is in the file, and all are read from it as they were written.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	text, forms := newKeyPEM(t)
	secret := newSecret("default", policy.CAKeyName("default", "ca-1"), text)
	secret.Labels = map[string]string{"team": "blue"}
	global := &policy.GlobalSecret{Meta: policy.Meta{Type: policy.TypeGlobalSecret, Name: "kuma-cp-ca-key"}, Data: policy.Bytes(text)}
	s := openSealed(t, path, newKeys(t, "a", "b"))
	put(t, s, secret, global, proxy(1, "1"))
	closeStore(t, s)
	if names := foundInFile(t, path, forms); names != nil {
		t.Errorf("in the file there is %q", names)
	}
	if names := foundInFile(t, path, map[string][]byte{"name": []byte(secret.Name), "label": []byte("blue"), "proxy": []byte("proxy-00001")}); len(names) != 3 {
		t.Errorf("of what is no secret, the file has only %q", names)
	}
	keys := newKeys(t, "b", "a")
	s = openSealed(t, path, keys)
	defer s.Close()
	for _, want := range []policy.Resource{secret, global, proxy(1, "1")} {
		got, err := s.Get(t.Context(), want.Metadata().Key())
		if err != nil || !store.Same(want, got) {
			t.Errorf("got %v, error %v; want %v", got, err, want)
		}
	}
	if keys.Stale() != 2 {
		t.Errorf("%d secrets are sealed with the second key, want 2", keys.Stale())
	}
}

// Sealing is not the same twice, and a secret that is written again as it is changes nevertheless nothing.
func TestUnchangedSecretStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openSealed(t, path, newKeys(t, "a"))
	put(t, s, signingKey("s3cret"))
	closeStore(t, s)
	s = openSealed(t, path, newKeys(t, "b", "a"))
	defer s.Close()
	before := list(t, s, policy.TypeSecret)[0]
	w, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, signingKey("s3cret"))
	if after := list(t, s, policy.TypeSecret)[0]; after != before {
		t.Errorf("version %d became version %d", before.Metadata().Version, after.Metadata().Version)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if events, err := w.Next(ctx); err == nil {
		t.Errorf("a watch showed %v", events)
	}
}

// What cannot be opened keeps the store shut. The error says which key it takes, and does not advise to begin with nothing.
func TestMissingKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openSealed(t, path, newKeys(t, "a"))
	put(t, s, signingKey("s3cret"))
	closeStore(t, s)
	other := newKeyFile(t, keyLine("b"))
	others, err := store.ReadKeys(other)
	if err != nil {
		t.Fatal(err)
	}
	for want, keys := range map[string]*store.Keys{
		"the key 3ba3f5f43b926026 is needed, and there is no key file; set store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE)": nil,
		"the key 3ba3f5f43b926026 is needed, and is not in " + other:                                                                  others,
	} {
		_, err := store.OpenSealedFile(path, keys)
		if !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), signingKey("").Key().String()) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "move it away") {
			t.Errorf("the advice is to lose everything: %v", err)
		}
	}
}

// editRecord changes the record of a secret in the file.
func editRecord(t *testing.T, path string, r *policy.Secret, change func(record map[string]any)) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("koguma/1")).Bucket([]byte("Secret"))
		k := []byte(r.Mesh + "\x00" + r.Name)
		var record map[string]any
		if err := json.Unmarshal(b.Get(k), &record); err != nil {
			return err
		}
		change(record)
		data, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return b.Put(k, data)
	})
}

// Whoever can write to the store cannot have one secret stand for another, nor change what is sealed without being noticed.
func TestSealedRecordsCannotBeChanged(t *testing.T) {
	t.Parallel()
	envelope := func(record map[string]any) []byte {
		data, err := base64.StdEncoding.DecodeString(record["sealed"].(string))
		if err != nil {
			t.Error(err)
		}
		return data
	}
	a, b := newSecret("default", "a", "s3cret a"), newSecret("default", "b", "s3cret b")
	elsewhere := newSecret("other", "a", "s3cret c")
	for name, tt := range map[string]struct {
		from   *policy.Secret // whose envelope a gets
		change func([]byte) []byte
		want   string
	}{
		"of another name":  {b, bytes.Clone, "was changed, or is the record of another"},
		"of another mesh":  {elsewhere, bytes.Clone, "was changed, or is the record of another"},
		"a changed bit":    {a, func(e []byte) []byte { e[len(e)-1] ^= 1; return e }, "was changed"},
		"a changed nonce":  {a, func(e []byte) []byte { e[9] ^= 1; return e }, "was changed"},
		"cut short":        {a, func(e []byte) []byte { return e[:20] }, "was changed"},
		"cut off":          {a, func(e []byte) []byte { return e[:5] }, "is cut off"},
		"a new format":     {a, func(e []byte) []byte { e[0] = 2; return e }, "format 2"},
		"another key's id": {a, func(e []byte) []byte { e[1] ^= 1; return e }, "is needed"},
	} {
		path := filepath.Join(t.TempDir(), "store.db")
		s := openSealed(t, path, newKeys(t, "a"))
		put(t, s, a, b, elsewhere)
		closeStore(t, s)
		var sealed []byte
		editRecord(t, path, tt.from, func(record map[string]any) { sealed = tt.change(envelope(record)) })
		editRecord(t, path, a, func(record map[string]any) { record["sealed"] = sealed })
		_, err := store.OpenSealedFile(path, newKeys(t, "a"))
		if err == nil || !strings.Contains(err.Error(), a.Key().String()) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}

	path := filepath.Join(t.TempDir(), "store.db")
	s := openSealed(t, path, newKeys(t, "a"))
	put(t, s, a)
	closeStore(t, s)
	editRecord(t, path, a, func(record map[string]any) { record["resource"].(map[string]any)["data"] = "AAAA" })
	if _, err := store.OpenSealedFile(path, newKeys(t, "a")); err == nil || !strings.Contains(err.Error(), "sealed and in clear") {
		t.Errorf("both sealed and in clear: got error %v", err)
	}
}
