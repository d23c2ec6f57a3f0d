package token_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"koguma/token"
)

// The rows of the corpus of attacks on JWTs, by their numbers. want "" is: accepted.
func TestVerifyRows(t *testing.T) {
	t.Parallel()
	good := string(signed(t, goodHeader, goodClaims))
	parts := strings.Split(good, ".")
	head := func(h string) string { return string(signed(t, h, goodClaims)) }
	claim := func(old, new string) string { // one replacement in the claims
		if !strings.Contains(goodClaims, old) {
			t.Fatalf("%q is not in the claims", old)
		}
		return string(signed(t, goodHeader, strings.Replace(goodClaims, old, new, 1)))
	}
	at := func(name string, d time.Duration) string {
		old := map[string]string{"exp": `"exp":1795438800`, "iat": `"iat":1795435195`, "nbf": `"nbf":1795435195`}[name]
		return claim(old, fmt.Sprintf(`%q:%d`, name, now.Add(d).Unix()))
	}
	hs256 := func(key []byte) string {
		text := encode(`{"alg":"HS256","kid":"1"}`) + "." + parts[1]
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	for _, test := range []struct {
		name, token string
		want        token.Reason
	}{
		{"1 baseline", good, ""},
		{"2 alg none, no signature", encode(`{"alg":"none","kid":"1"}`) + "." + parts[1] + ".", "malformed"},
		{"3 alg none, signature kept", encode(`{"alg":"none","kid":"1"}`) + "." + parts[1] + "." + parts[2], "algorithm"},
		{"3 alg nOnE", head(`{"alg":"nOnE","kid":"1"}`), "algorithm"},
		{"4 HS256, public key as the secret", hs256(x509.MarshalPKCS1PublicKey(&newKey().PublicKey)), "algorithm"},
		{"5 HS256, empty key", hs256(nil), "algorithm"},
		{"6 RS384", head(`{"alg":"RS384","kid":"1"}`), "algorithm"},
		{"6 PS256", head(`{"alg":"PS256","kid":"1"}`), "algorithm"},
		{"6 ES256", head(`{"alg":"ES256","kid":"1"}`), "algorithm"},
		{"6 rs256", head(`{"alg":"rs256","kid":"1"}`), "algorithm"},
		{"6 no alg", head(`{"kid":"1"}`), "algorithm"},
		{"6 alg a list", head(`{"alg":["RS256"],"kid":"1"}`), "malformed"},
		{"7 nothing", "", "missing"},
		{"7 signature stripped, dot kept", parts[0] + "." + parts[1] + ".", "malformed"},
		{"7 dot removed", parts[0] + "." + parts[1], "malformed"},
		{"7 fourth segment", good + ".x", "malformed"},
		{"7 only dots", "..", "malformed"},
		{"7 a MiB of dots", strings.Repeat(".", 1<<20), "malformed"},
		{"8 claims changed, signature kept", parts[0] + "." + encode(strings.Replace(goodClaims, "dp-1", "dp-2", 1)) + "." + parts[2], "signature"},
		{"8 longer than 8 KiB", claim(`"dp-1"`, `"`+strings.Repeat("a", 8<<10)+`"`), "malformed"},
		{"9 unused bits of the last character", good[:len(good)-1] + string(alphabet[last^1]), "malformed"},
		{"10 a bit of the signature", parts[0] + "." + parts[1] + ".A" + string(alphabet[strings.IndexByte(alphabet, parts[2][1])^32]) + parts[2][2:], "signature"},
		{"11 padding", good + "=", "malformed"},
		{"11 padded header", parts[0] + "==." + parts[1] + "." + parts[2], "malformed"},
		{"11 standard alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(good), "malformed"},
		{"11 leading space", " " + good, "malformed"},
		{"11 trailing space", good + " ", "malformed"},
		{"12 line end after it", good + "\n", "malformed"},
		{"12 line break inside", good[:20] + "\n" + good[20:], "malformed"},
		{"12 carriage return inside", good[:20] + "\r" + good[20:], "malformed"},
		{"13 Mesh twice", claim(`"Mesh":"default"`, `"Mesh":"other","Mesh":"default"`), "malformed"},
		{"13 Mesh and mesh", claim(`"Mesh":"default"`, `"Mesh":"default","mesh":"default"`), "malformed"},
		{"13 Mesh and mESH", claim(`"Mesh":"default"`, `"Mesh":"default","mESH":"other"`), "malformed"},
		{"13 exp twice", claim(`"exp":`, `"exp":1,"exp":`), "malformed"},
		{"13 a tag twice", claim(`{"kuma.io/service"`, `{"kuma.io/service":["api"],"kuma.io/service"`), "malformed"},
		{"14 alg twice", head(`{"alg":"none","alg":"RS256","kid":"1"}`), "malformed"},
		{"14 kid and KID", head(`{"alg":"RS256","kid":"1","KID":"2"}`), "malformed"},
		{"15 keys in the header", head(`{"alg":"RS256","kid":"1","jwk":{"kty":"RSA"},"jku":"http://x/","x5u":"http://x/","x5c":["a"],"x5t":"b"}`), ""},
		{"16 unknown crit", head(`{"alg":"RS256","kid":"1","crit":["exp"]}`), "malformed"},
		{"16 crit b64", head(`{"alg":"RS256","kid":"1","b64":false,"crit":["b64"]}`), "malformed"},
		{"16 empty crit", head(`{"alg":"RS256","kid":"1","crit":[]}`), "malformed"},
		{"17 no kid", head(`{"alg":"RS256"}`), "malformed"},
		{"17 kid null", head(`{"alg":"RS256","kid":null}`), "malformed"},
		{"17 kid empty", head(`{"alg":"RS256","kid":""}`), "malformed"},
		{"17 kid a number", head(`{"alg":"RS256","kid":1}`), "malformed"},
		{"17 kid a list", head(`{"alg":"RS256","kid":["1"]}`), "malformed"},
		{"17 kid an object", head(`{"alg":"RS256","kid":{}}`), "malformed"},
		{"17 kid of 65", head(`{"alg":"RS256","kid":"` + strings.Repeat("1", 65) + `"}`), "malformed"},
		{"18 kid a path", head(`{"alg":"RS256","kid":"../1"}`), "malformed"},
		{"18 kid with a NUL", head(`{"alg":"RS256","kid":"1\u0000"}`), "malformed"},
		{"18 kid SQL", head(`{"alg":"RS256","kid":"1' OR '1'='1"}`), "malformed"},
		{"18 kid with a line end", head(`{"alg":"RS256","kid":"1\n"}`), "malformed"},
		{"19 kid 01", head(`{"alg":"RS256","kid":"01"}`), "key"},
		{"19 kid with a space", head(`{"alg":"RS256","kid":" 1"}`), "malformed"},
		{"19 kid in full width", head(`{"alg":"RS256","kid":"１"}`), "malformed"},
		{"19 kid +1", head(`{"alg":"RS256","kid":"+1"}`), "malformed"},
		{"21 kid of a key that is gone", head(`{"alg":"RS256","kid":"2"}`), "key"},
		{"25 typ at+jwt", head(`{"alg":"RS256","kid":"1","typ":"at+jwt"}`), "malformed"},
		{"25 typ jwt", head(`{"alg":"RS256","kid":"1","typ":"jwt"}`), "malformed"},
		{"25 typ a number", head(`{"alg":"RS256","kid":"1","typ":1}`), "malformed"},
		{"25 no typ", head(`{"alg":"RS256","kid":"1"}`), ""},
		{"26 two documents in the header", head(goodHeader + `{}`), "malformed"},
		{"26 header as YAML", head("alg: RS256\nkid: \"1\""), "malformed"},
		{"27 claims a list", string(signed(t, goodHeader, `[]`)), "malformed"},
		{"27 claims a text", string(signed(t, goodHeader, `"x"`)), "malformed"},
		{"27 no claims", string(signed(t, goodHeader, `{}`)), "malformed"},
		{"27 empty segment", string(signed(t, goodHeader, ``)), "malformed"},
		{"27 claims null", string(signed(t, goodHeader, `null`)), "malformed"},
		{"28 not UTF-8", claim("dp-1", "dp-\xff"), "malformed"},
		{"28 half a surrogate", claim("dp-1", `dp-\ud800`), "malformed"},
		{"29 exp in quotes", claim(`"exp":1795438800`, `"exp":"1795438800"`), "malformed"},
		{"30 no exp", claim(`,"exp":1795438800`, ``), "malformed"},
		{"30 exp null", claim(`"exp":1795438800`, `"exp":null`), "malformed"},
		{"30 exp a fraction", claim(`"exp":1795438800`, `"exp":1795438800.5`), "malformed"},
		{"30 exp an exponent", claim(`"exp":1795438800`, `"exp":1e10`), "malformed"},
		{"30 exp negative", claim(`"exp":1795438800`, `"exp":-1`), "malformed"},
		{"30 exp 0", claim(`"exp":1795438800`, `"exp":0`), "malformed"},
		{"30 exp beyond the year 9999", claim(`"exp":1795438800`, `"exp":253402300800`), "malformed"},
		{"30 exp beyond 64 bits", claim(`"exp":1795438800`, `"exp":99999999999999999999`), "malformed"},
		{"31 exp now", at("exp", 0), "expired"},
		{"31 exp a second ago", at("exp", -time.Second), "expired"},
		{"31 exp a leeway ago", at("exp", -61*time.Second), "malformed"}, // before nbf, too
		{"31 exp in a second", at("exp", time.Second), ""},
		{"32 nbf within the leeway", at("nbf", time.Minute), ""},
		{"32 nbf beyond the leeway", at("nbf", 61*time.Second), "not-yet-valid"},
		{"32 no nbf, no iat", claim(`"iat":1795435195,"nbf":1795435195,`, ``), ""},
		{"32 nbf in quotes", claim(`"nbf":1795435195`, `"nbf":"1"`), "malformed"},
		{"33 iat in an hour", at("iat", time.Hour), "not-yet-valid"},
		{"33 exp before nbf", at("nbf", 2*time.Hour), "malformed"},
		{"37 no Mesh", claim(`"Mesh":"default",`, ``), "mesh"},
		{"37 Mesh empty", claim(`"Mesh":"default"`, `"Mesh":""`), "mesh"},
		{"37 Mesh null", claim(`"Mesh":"default"`, `"Mesh":null`), "malformed"},
		{"37 Mesh Default", claim(`"Mesh":"default"`, `"Mesh":"Default"`), "mesh"},
		{"37 Mesh with a space", claim(`"Mesh":"default"`, `"Mesh":"default "`), "mesh"},
		{"38 Mesh of another", claim(`"Mesh":"default"`, `"Mesh":"other"`), "mesh"},
		{"39 Tags null", claim(`{"kuma.io/service":["web"]}`, `null`), ""},
		{"39 Tags empty", claim(`{"kuma.io/service":["web"]}`, `{}`), ""},
		{"39 no Tags", claim(`"Tags":{"kuma.io/service":["web"]},`, ``), ""},
		{"40 Name null", claim(`"dp-1"`, `null`), "malformed"},
		{"40 Name a number", claim(`"dp-1"`, `1`), "malformed"},
		{"41 tag a text", claim(`["web"]`, `"web"`), "malformed"},
		{"41 tag an object", claim(`["web"]`, `{"web":true}`), "malformed"},
		{"41 tag of numbers", claim(`["web"]`, `[1]`), "malformed"},
		{"41 tag of null", claim(`["web"]`, `[null]`), "malformed"},
		{"41 Tags a list", claim(`{"kuma.io/service":["web"]}`, `["web"]`), "malformed"},
		{"42 Type admin", claim(`"Type":"dataplane"`, `"Type":"admin"`), "type"},
		{"42 claims nobody knows", claim(`"jti"`, `"iss":"x","aud":["y"],"jti"`), ""},
		{"42 jti a number", claim(`"0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e"`, `7`), "malformed"},
	} {
		_, err := verifier().Verify(token.Raw(test.token), "default", now)
		check(t, test.name, err, test.want)
		if err != nil {
			leaks(t, test.name, err.Error(), test.token)
		}
	}
}

// check compares the reason of a refusal.
func check(t *testing.T, name string, err error, want token.Reason) {
	t.Helper()
	var got token.Reason
	if r := (*token.Refusal)(nil); errors.As(err, &r) {
		got = r.Reason
	} else if err != nil {
		t.Errorf("%s: %v, which is no Refusal", name, err)
	}
	if got != want {
		t.Errorf("%s: refused for %q, want %q: %v", name, got, want, err)
	}
}

// leaks finds text of a token in a message, and messages of several lines.
func leaks(t *testing.T, name, message, raw string) {
	t.Helper()
	if strings.ContainsAny(message, "\r\n\x00") {
		t.Errorf("%s: not one line: %q", name, message)
	}
	if !strings.HasPrefix(message, "token refused: ") || !strings.Contains(message, "; ") {
		t.Errorf("%s: not of the form: %q", name, message)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) >= 8 && strings.Contains(message, part[:8]) {
			t.Errorf("%s: text of the token in %q", name, message)
		}
	}
}

// Rows 21 and 23: keys are those of the mesh now, and "cannot tell" is not "no".
func TestVerifyKeys(t *testing.T) {
	t.Parallel()
	raw := signed(t, goodHeader, goodClaims)
	_, err := verifier().Verify(raw, "other", now)
	check(t, "key of another mesh", err, "key")

	remade, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, err = token.Verifier{Keys: keys{{"default", "1"}: &remade.PublicKey}}.Verify(raw, "default", now)
	check(t, "23 mesh made again", err, "signature")

	_, err = token.Verifier{Keys: keys{{"other", "1"}: &newKey().PublicKey}}.Verify(raw, "other", now)
	check(t, "one key for two meshes", err, "mesh")

	unsynced := errors.New("not synced yet")
	_, err = token.Verifier{Keys: failing{unsynced}}.Verify(raw, "default", now)
	if !errors.Is(err, unsynced) || errors.As(err, new(*token.Refusal)) {
		t.Errorf("21 not synced: got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Key(string, string) (*rsa.PublicKey, error) { return nil, f.err }

// A token is revoked by its jti, or by the hash of its text if it has none, or none that a list could name.
func TestVerifyRevoked(t *testing.T) {
	t.Parallel()
	named := signed(t, goodHeader, goodClaims)
	nameless := signed(t, goodHeader, strings.Replace(goodClaims, `"jti":"0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e",`, "", 1))
	unlistable := signed(t, goodHeader, strings.Replace(goodClaims, `"jti":"`, `"jti":"a, b`, 1))
	hash := func(raw token.Raw) string {
		sum := sha256.Sum256([]byte(raw))
		return hex.EncodeToString(sum[:])
	}
	for raw, id := range map[token.Raw]string{
		named:      "0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e",
		nameless:   hash(nameless),
		unlistable: hash(unlistable),
	} {
		v := verifier()
		c, err := v.Verify(raw, "default", now)
		if err != nil || c.ID != id {
			t.Errorf("got id %q, %v; want %q", c.ID, err, id)
		}
		v.Revoked = func(mesh, revoked string) bool { return mesh == "default" && revoked == id }
		_, err = v.Verify(raw, "default", now)
		check(t, "35 "+id, err, "revoked")
		v.Revoked = func(mesh, revoked string) bool { return mesh != "default" || revoked != id }
		if _, err = v.Verify(raw, "default", now); err != nil {
			t.Errorf("another is revoked: %v", err)
		}
	}
}

// Claims that were verified hold until their key goes, they end, or they are revoked.
func TestJudge(t *testing.T) {
	t.Parallel()
	v := verifier()
	c, err := v.Verify(signed(t, goodHeader, goodClaims), "default", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Judge(c, now); err != nil {
		t.Errorf("refused: %v", err)
	}
	check(t, "expired", v.Judge(c, c.ExpiresAt), "expired")
	revoked := token.Verifier{Keys: v.Keys, Revoked: func(_, id string) bool { return id == c.ID }}
	check(t, "revoked", revoked.Judge(c, now), "revoked")
	check(t, "key", token.Verifier{Keys: keys{}}.Judge(c, now), "key")
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "another key by that name", token.Verifier{Keys: keys{{"default", "1"}: &other.PublicKey}}.Judge(c, now), "key")
	c.KeySum = "" // which no Verify gives
	check(t, "no key", v.Judge(c, now), "key")
	away := errors.New("cannot tell")
	if err := (token.Verifier{Keys: failing{away}}).Judge(c, now); !errors.Is(err, away) {
		t.Errorf("got %v, want %v", err, away)
	}
}

// A refusal tells which token and which key it is about if the signature was good, and not else.
func TestRefusalNamesGenuineTokens(t *testing.T) {
	t.Parallel()
	ended := strings.Replace(goodClaims, `"exp":1795438800`, `"exp":1795435190`, 1)
	ended = strings.Replace(ended, `"nbf":1795435195,`, ``, 1)
	raw := string(signed(t, goodHeader, ended))
	_, genuine := verifier().Verify(token.Raw(raw), "default", now)
	_, forged := verifier().Verify(token.Raw(raw[:len(raw)-8]+"AAAAAAAA"), "default", now)
	for want, err := range map[string]error{"0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e 1": genuine, " ": forged} {
		r, ok := errors.AsType[*token.Refusal](err)
		if !ok || r.ID+" "+r.KeyID != want {
			t.Errorf("%v: it is about %+v, want %q", err, r, want)
		}
	}
}

// What was not vouched for by a signature is not repeated.
func TestVerifyEchoesNoClaims(t *testing.T) {
	t.Parallel()
	for _, claims := range []string{`{"Name":"canary","Mesh":"canary","Tags":{"canary":[]}}`, `{"canary":1,"canary":2}`} {
		raw := encode(`{"alg":"RS256","kid":"1"}`) + "." + encode(claims) + "." + encode("no signature")
		_, verr := verifier().Verify(token.Raw(raw), "default", now)
		_, ierr := token.Inspect(token.Raw(raw))
		for _, err := range []error{verr, ierr} {
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: got %v", claims, err)
			}
		}
	}
}

// An agent reads its own token without any key.
func TestInspect(t *testing.T) {
	t.Parallel()
	for _, signature := range []bool{true, false} {
		raw := signed(t, goodHeader, strings.Replace(goodClaims, `"jti"`, `"Pin":"sha256:x","jti"`, 1))
		if !signature {
			raw = raw[:strings.LastIndexByte(string(raw), '.')+1] + "AAAA"
		}
		got, err := token.Inspect(raw)
		if err != nil {
			t.Fatal(err)
		}
		want := token.Claims{
			Name: "dp-1", Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}, Type: "dataplane",
			ID: "0b9ac2e3-a4f9-4d1c-8d7e-3f7a5b1c2d3e", Pin: "sha256:x",
			IssuedAt: now.Add(-5 * time.Second), NotBefore: now.Add(-5 * time.Second), ExpiresAt: now.Add(time.Hour),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	_, err := token.Inspect(signed(t, goodHeader, `{"Mesh":"default"}`))
	if err == nil || !strings.Contains(err.Error(), `no "exp"`) {
		t.Errorf("no exp: got %v", err)
	}
}

// No text makes Verify panic, and what it accepts golang-jwt accepts, too.
func FuzzVerify(f *testing.F) {
	for _, claims := range []string{goodClaims, `{}`, `{"Mesh":"default","exp":1795438800}`, `{"Mesh":"default","exp":1e99}`} {
		f.Add(goodHeader, claims, "")
	}
	f.Add(`{"alg":"RS256","kid":"1","crit":["x"]}`, goodClaims, "x")
	v := verifier()
	f.Fuzz(func(t *testing.T, header, claims, text string) {
		for _, raw := range []token.Raw{signed(t, header, claims), token.Raw(text)} {
			c, err := v.Verify(raw, "default", now)
			_, ierr := token.Inspect(raw)
			if err != nil {
				leaks(t, "verify", err.Error(), "")
				continue
			}
			if ierr != nil || c.Mesh != "default" || !c.ExpiresAt.After(now) {
				t.Errorf("accepted %q %q as %+v; inspect: %v", header, claims, c, ierr)
			}
			_, err = jwt.Parse(string(raw), func(*jwt.Token) (any, error) { return &newKey().PublicKey, nil },
				jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
				jwt.WithLeeway(time.Minute), jwt.WithTimeFunc(func() time.Time { return now }))
			if err != nil {
				t.Errorf("accepted %q %q; golang-jwt: %v", header, claims, err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := verifier()
	raw := signed(b, goodHeader, goodClaims)
	for b.Loop() {
		if _, err := v.Verify(raw, "default", now); err != nil {
			b.Fatal(err)
		}
	}
}
