package token_test

import (
	"testing"
	"time"

	"koguma/token"
)

// The id of a key can be read off a token by who cannot verify it, and of what is no token there is none.
func TestKeyID(t *testing.T) {
	t.Parallel()
	raw, err := token.Sign(token.SigningKey{KID: "rsa-7", Key: newKey()}, token.Claims{Mesh: "default", Name: "dp-1", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[token.Raw]string{raw: "rsa-7", "": "", "a.b.c": "", "nonsense": ""} {
		if got := token.KeyID(in); got != want {
			t.Errorf("the key of %.10q is %q, want %q", string(in), got, want)
		}
	}
}
