package token_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"koguma/token"
)

// now is when everything happens; tokens are made to fit.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newKey makes one key for all tests that do not need their own: making RSA keys is slow.
var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// keys are signing keys by mesh and id.
type keys map[[2]string]*rsa.PublicKey

func (k keys) Key(mesh, kid string) (*rsa.PublicKey, error) {
	if key, ok := k[[2]string{mesh, kid}]; ok {
		return key, nil
	}
	return nil, token.ErrNoKey
}

// verifier has key 1 of mesh default.
func verifier() token.Verifier {
	return token.Verifier{Keys: keys{{"default", "1"}: &newKey().PublicKey}}
}

const goodHeader = `{"alg":"RS256","kid":"1","typ":"JWT"}`

// goodClaims are of a token that was made at now and lives for an hour.
const goodClaims = `{"Name":"dp-1","Mesh":"default","Tags":{"kuma.io/service":["web"]},"Type":"dataplane",` +
	`"jti":"0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e","iat":1795435195,"nbf":1795435195,"exp":1795438800}`

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signed is a JWT with a good signature, whatever it says.
func signed(tb testing.TB, header, claims string) token.Raw {
	tb.Helper()
	text := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, newKey(), crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return token.Raw(text + "." + base64.RawURLEncoding.EncodeToString(signature))
}
