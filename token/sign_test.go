package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/token"
)

func signingKey() token.SigningKey { return token.SigningKey{KID: "1", Key: newKey()} }

// A token that was signed says, once verified, what went in, and its text has the names that Kuma gives the claims.
func TestSign(t *testing.T) {
	t.Parallel()
	in := token.Claims{
		Name: "dp-1", Mesh: "default", Tags: service("web", "web-api"), Type: "dataplane", ID: "id-1", Pin: "sha256:x",
		IssuedAt: now.Add(-5 * time.Second), NotBefore: now.Add(-5 * time.Second), ExpiresAt: now.Add(time.Hour),
	}
	raw, err := token.Sign(signingKey(), in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := verifier().Verify(raw, "default", now)
	if err != nil {
		t.Fatal(err)
	}
	in.KeyID, in.KeySum = "1", out.KeySum
	if len(out.KeySum) != 64 {
		t.Errorf("the sum of the key is %q", out.KeySum)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("(-in +out):\n%s", diff)
	}
	want := []string{
		`{"alg":"RS256","kid":"1","typ":"JWT"}`,
		`{"Name":"dp-1","Mesh":"default","Tags":{"kuma.io/service":["web","web-api"]},"Type":"dataplane",` +
			`"jti":"id-1","iat":1795435195,"nbf":1795435195,"exp":1795438800,"Pin":"sha256:x"}`,
	}
	for i, part := range strings.Split(string(raw), ".")[:2] {
		got, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want[i] {
			t.Errorf("part %d: got %s, want %s", i+1, got, want[i])
		}
	}
}

// What is left empty is filled, or left out of the text.
func TestSignFills(t *testing.T) {
	t.Parallel()
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 3 {
		raw, err := token.Sign(signingKey(), token.Claims{Mesh: "default", ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := verifier().Verify(raw, "default", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !uuid.MatchString(c.ID) || seen[c.ID] {
			t.Errorf("id %q", c.ID)
		}
		seen[c.ID] = true
		if age := time.Since(c.IssuedAt); age < 4*time.Second || age > time.Minute || !c.NotBefore.Equal(c.IssuedAt) {
			t.Errorf("iat %v, nbf %v", c.IssuedAt, c.NotBefore)
		}
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(string(raw), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Name", "Tags", "Type", "Workload", "Pin"} {
			if bytes.Contains(claims, []byte(name)) {
				t.Errorf("%s in %s", name, claims)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*token.SigningKey, *token.Claims)
		want   string
	}{
		"no mesh":        {func(_ *token.SigningKey, c *token.Claims) { c.Mesh = "" }, "needs a mesh"},
		"type admin":     {func(_ *token.SigningKey, c *token.Claims) { c.Type = "admin" }, `no type "admin"`},
		"workload":       {func(_ *token.SigningKey, c *token.Claims) { c.Workload = "w" }, "workload"},
		"no end":         {func(_ *token.SigningKey, c *token.Claims) { c.ExpiresAt = time.Time{} }, "longer validity"},
		"end in between": {func(_ *token.SigningKey, c *token.Claims) { c.NotBefore = c.ExpiresAt }, "longer validity"},
		"year 10000":     {func(_ *token.SigningKey, c *token.Claims) { c.ExpiresAt = time.Unix(253402300800, 0) }, "year 9999"},
		"no value":       {func(_ *token.SigningKey, c *token.Claims) { c.Tags = service() }, "no value"},
		"empty value":    {func(_ *token.SigningKey, c *token.Claims) { c.Tags = service("a", "") }, "empty value"},
		"unnamed tag":    {func(_ *token.SigningKey, c *token.Claims) { c.Tags = map[string][]string{"": {"a"}} }, "without a name"},
		"too long":       {func(_ *token.SigningKey, c *token.Claims) { c.Tags = service(strings.Repeat("a", 8<<10)) }, "fewer tags"},
		"no kid":         {func(k *token.SigningKey, _ *token.Claims) { k.KID = "" }, `id ""`},
		"kid a path":     {func(k *token.SigningKey, _ *token.Claims) { k.KID = "a/b" }, `id "a/b"`},
		"no key":         {func(k *token.SigningKey, _ *token.Claims) { k.Key = nil }, "no key"},
		"weak key":       {func(k *token.SigningKey, _ *token.Claims) { k.Key = small }, "1024 bits"},
	} {
		k, c := signingKey(), token.Claims{Mesh: "default", ExpiresAt: time.Now().Add(time.Hour)}
		test.change(&k, &c)
		raw, err := token.Sign(k, c)
		if err == nil || !strings.Contains(err.Error(), test.want) || raw != "" {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// A signing key that was made is read again, as PEM and as DER, and nothing else is.
func TestParseKey(t *testing.T) {
	t.Parallel()
	text, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		t.Fatalf("not PKCS#1 in PEM")
	}
	made, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{text, block.Bytes, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		key, err := token.ParseKey(data)
		if err != nil {
			t.Fatal(err)
		}
		if key.N.BitLen() != 2048 || !bytes.Equal(x509.MarshalPKCS1PrivateKey(key), block.Bytes) {
			t.Error("another key")
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalPKCS8PrivateKey(elliptic)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":   {nil, "not an RSA private key"},
		"text":      {[]byte("hello"), "not an RSA private key"},
		"elliptic":  {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ec}), "not an RSA key"},
		"public":    {token.EncodePublicKey(&made.PublicKey), `it is a "RSA PUBLIC KEY"`},
		"no PKCS#8": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: block.Bytes}), "although it says so"},
		"cut":       {text[:200], "broken PEM"},
		"after":     {append(bytes.Clone(text), 'x'), "something after"},
		"encrypted": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}, Bytes: block.Bytes}), "encrypted"},
		"RSA-1024":  {x509.MarshalPKCS1PrivateKey(small), "1024 bits"},
	} {
		if _, err := token.ParseKey(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// Whoever prints, logs or marshals a token or a signing key shows nothing of it.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const canary = token.Raw("eyJhbGciOiJSUzI1NiJ9.canary.canary")
	key := signingKey()
	var out bytes.Buffer
	type box struct {
		Token token.Raw
		Key   token.SigningKey
		List  []token.Raw
		Map   map[string]token.Raw
		Ptr   *token.Raw
	}
	ptr := canary
	b := box{canary, key, []token.Raw{canary}, map[string]token.Raw{"a": canary}, &ptr}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, canary)
		fmt.Fprintf(&out, verb, key)
		fmt.Fprintf(&out, verb, b)
	}
	fmt.Fprintln(&out, canary, key, canary.String(), key.String(), fmt.Errorf("%w: %v", token.ErrNoKey, canary))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).With("token", canary).Info("m", "key", key, "box", b, "list", b.List, "any", any(canary))
	}
	for _, v := range []any{canary, key, b} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	secrets := []string{"eyJ", "canary", fmt.Sprintf("%x", string(canary)), fmt.Sprintf("%X", string(canary)), fmt.Sprint(newKey().D), fmt.Sprint(newKey().Primes[0])}
	for _, s := range secrets {
		if bytes.Contains(out.Bytes(), []byte(s)) {
			t.Errorf("%.12s… is in the output", s)
		}
	}
	for _, want := range []string{"[token]", `[signing key "1"]`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in the output", want)
		}
	}
}

// One value, bare or with one "Bearer ".
func TestFromMetadata(t *testing.T) {
	t.Parallel()
	raw := string(signed(t, goodHeader, goodClaims))
	for _, values := range [][]string{{raw}, {"Bearer " + raw}} {
		got, err := token.FromMetadata(values)
		if err != nil || string(got) != raw {
			t.Errorf("%.10q: got %v", values, err)
		}
	}
	for name, test := range map[string]struct {
		values []string
		want   token.Reason
	}{
		"none":             {nil, "missing"},
		"empty":            {[]string{""}, "missing"},
		"Bearer alone":     {[]string{"Bearer "}, "missing"},
		"two":              {[]string{raw, raw}, "malformed"},
		"Bearer twice":     {[]string{"Bearer Bearer " + raw}, "malformed"},
		"lower case":       {[]string{"bearer " + raw}, "malformed"},
		"two blanks":       {[]string{"Bearer  " + raw}, "malformed"},
		"Basic":            {[]string{"Basic " + raw}, "malformed"},
		"trailing blank":   {[]string{raw + " "}, "malformed"},
		"line end":         {[]string{raw + "\n"}, "malformed"},
		"comma":            {[]string{raw + "," + raw}, "malformed"},
		"longer than 8KiB": {[]string{strings.Repeat("a", 9000)}, "malformed"},
	} {
		got, err := token.FromMetadata(test.values)
		check(t, name, err, test.want)
		if got != "" {
			t.Errorf("%s: a token came out", name)
		}
		leaks(t, name, err.Error(), raw)
	}
}

// The two kinds of refusals are told apart as gRPC codes are.
func TestReasonBoundary(t *testing.T) {
	t.Parallel()
	for r, want := range map[token.Reason]bool{
		token.ReasonMissing: false, token.ReasonMalformed: false, token.ReasonAlgorithm: false, token.ReasonKey: false,
		token.ReasonSignature: false, token.ReasonExpired: false, token.ReasonNotYetValid: false, token.ReasonRevoked: false,
		token.ReasonMesh: true, token.ReasonName: true, token.ReasonTags: true, token.ReasonType: true, token.ReasonWorkload: true,
	} {
		if r.Boundary() != want {
			t.Errorf("%s: %v", r, !want)
		}
	}
}
