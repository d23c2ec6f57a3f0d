package cp_test

import (
	"errors"
	"strings"
	"testing"

	"koguma/cp"
	"koguma/policy"
	"koguma/token"
)

// A key verifies from the moment that its secret is there to the one in which it is gone, in its own mesh, by its own
// serial number, and only if it can be read.
func TestKeyring(t *testing.T) {
	t.Parallel()
	k := cp.NewKeyring()
	good := secret(keyName(1), signingKey())
	if err := k.Apply(good.Key(), good); err != nil {
		t.Fatal(err)
	}
	want, err := token.ParseKey(signingKey())
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
		secret("x", signingKey()), secret(keyName("x"), signingKey()), secret("dataplane-token-signing-key-other-2", signingKey()),
	} {
		if err := k.Apply(r.Key(), r); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if _, err := k.Key("other", "2"); !errors.Is(err, token.ErrNoKey) {
		t.Errorf("a key of one mesh was put into another: %v", err)
	}
	bad := secret(keyName(1), []byte("canary"))
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
