package cp_test

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/token"
)

// A key verifies from the moment that its secret is there to the one in which it is gone, in its own mesh, by its own
// serial number, and only if it can be read.
func TestKeyring(t *testing.T) {
	t.Parallel()
	k := cp.NewKeyring()
	good := cptest.Secret(cptest.KeyName(1), cptest.SigningKey())
	if err := k.Apply(good.Key(), good); err != nil {
		t.Fatal(err)
	}
	want, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Key("default", "1"); err != nil || !got.Equal(&want.PublicKey) {
		t.Errorf("not the key: %v", err)
	}
	for _, other := range [][2]string{{"default", "2"}, {"default", "01"}, {"default", "1 "}, {"default", ""}, {"other", "1"}, {"", "1"}} {
		if _, err := k.Key(other[0], other[1]); !errors.Is(err, token.ErrNoKey) {
			t.Errorf("key %q of %q: %v", other[1], other[0], err)
		}
	}
	for _, r := range []*policy.Secret{
		cptest.Secret("x", cptest.SigningKey()), cptest.Secret(cptest.KeyName("x"), cptest.SigningKey()), cptest.Secret("dataplane-token-signing-key-other-2", cptest.SigningKey()),
	} {
		if err := k.Apply(r.Key(), r); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if _, err := k.Key("other", "2"); !errors.Is(err, token.ErrNoKey) {
		t.Errorf("a key of one mesh was put into another: %v", err)
	}
	bad := cptest.Secret(cptest.KeyName(1), []byte("canary"))
	if err := k.Apply(bad.Key(), bad); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a key that cannot be read: %v", err)
	}
	if _, err := k.Key("default", "1"); !errors.Is(err, token.ErrNoKey) {
		t.Errorf("the key that was there before: %v", err)
	}
	if err := k.Apply(good.Key(), good); err != nil {
		t.Fatal(err)
	}
	if err := k.Apply(good.Key(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Key("default", "1"); !errors.Is(err, token.ErrNoKey) {
		t.Errorf("a key whose secret is gone: %v", err)
	}
}

// Bad input 28: to look whether a token is among a hundred thousand that are revoked takes less than a millisecond.
func TestLongListIsCheckedQuickly(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "0e120ec9-6b42-495d-9758-%012d\n", i)
	}
	k := cp.NewKeyring()
	s := cptest.Secret(policy.RevocationsName("default"), []byte(list.String()))
	if err := k.Apply(s.Key(), s); err != nil {
		t.Fatal(err)
	}
	const checks = 2000
	begin := time.Now()
	for i := range checks {
		if id := fmt.Sprintf("0e120ec9-6b42-495d-9758-%012d", i*50); !k.Revoked("default", id) || k.Revoked("default", id+"0") {
			t.Fatalf("%s and one like it: not one of the two is revoked", id)
		}
	}
	if took := time.Since(begin); took > checks*time.Millisecond {
		t.Errorf("%d checks took %v", 2*checks, took)
	}
}

// Keys of the configuration go over those of secrets, one for the mesh over one for any; and keys of secrets count only
// where they are wanted.
func TestStaticKeys(t *testing.T) {
	t.Parallel()
	parsed := func(pem []byte) *rsa.PublicKey {
		key, err := token.ParseKey(pem)
		if err != nil {
			t.Fatal(err)
		}
		return &key.PublicKey
	}
	own, mine, all := parsed(cptest.SigningKey()), parsed(cptest.NewKey(t)), parsed(cptest.NewKey(t))
	for _, useSecrets := range []bool{true, false} {
		k := cp.NewStaticKeyring(useSecrets)
		k.SetStatic("", "1", all)
		k.SetStatic("", "2", all)
		k.SetStatic("default", "2", mine)
		for _, n := range []int{1, 2, 3} {
			s := cptest.Secret(cptest.KeyName(n), cptest.SigningKey())
			if err := k.Apply(s.Key(), s); err != nil {
				t.Fatal(err)
			}
		}
		third := own
		if !useSecrets {
			third = nil
		}
		for _, c := range []struct {
			mesh, kid string
			want      *rsa.PublicKey
		}{
			{"default", "1", all}, {"default", "2", mine}, {"default", "3", third}, {"other", "1", all}, {"other", "2", all}, {"other", "3", nil},
		} {
			if got, err := k.Key(c.mesh, c.kid); got != c.want && !(got != nil && c.want != nil && got.Equal(c.want)) || (err == nil) != (c.want != nil) {
				t.Errorf("key %q of %q is not the one: %v", c.kid, c.mesh, err)
			}
		}
		if k.SetStatic("default", "2", mine) || !k.SetStatic("default", "2", all) || k.SetStatic("new", "2", all) {
			t.Error("what is new is not told from what is the same")
		}
	}
}

// A hundred thousand are no trouble: who is among them is out within a second, and one more is added to them.
func TestLongListOfRevocations(t *testing.T) {
	t.Parallel()
	p := start(t)
	by := func(id, name string) *stream {
		t.Helper()
		return p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: id}),
			node(t, "default."+name, brought(dataplane(name, "web"))))
	}
	first, second, good := by("first", "web-1"), by("second", "web-2"), by("good", "web-3")
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "0e120ec9-6b42-495d-9758-%012d,\n", i)
	}
	list.WriteString("first\n")
	body := cptest.SecretJSON(policy.RevocationsName("default"), []byte(list.String()))
	begin := time.Now()
	p.put("/meshes/default/secrets/"+policy.RevocationsName("default"), body)
	first.ended(codes.Unauthenticated, "revoked")
	t.Logf("out %v after the PUT of %d MiB was begun", time.Since(begin), len(body)>>20)
	begin = time.Now()
	if got := p.rest("POST", "/tokens/dataplane/revocations", `{"mesh":"default","ids":["second"]}`); got != `{"added":1,"total":100002}` {
		t.Error(got)
	}
	second.ended(codes.Unauthenticated, "revoked")
	t.Logf("out %v after the POST was begun", time.Since(begin))
	good.leave()
}
