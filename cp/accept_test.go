package cp_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"koguma/cp/cptest"
	"koguma/token"
	"koguma/xds"
)

// goodHeader and goodClaims are those of a token that fits the Dataplane dp-1 of the service web.
const goodHeader = `{"alg":"RS256","kid":"2","typ":"JWT"}`

func goodClaims() string {
	now := time.Now().Unix()
	return fmt.Sprintf(`{"Name":"dp-1","Mesh":"default","Tags":{"kuma.io/service":["web"]},"Type":"dataplane",`+
		`"jti":"canary","iat":%d,"nbf":%d,"exp":%d}`, now-5, now-5, now+3600)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwt is a token with a good signature, whatever it says.
func jwt(t *testing.T, header, claims string) string {
	t.Helper()
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	return jwtBy(t, key, header, claims)
}

func jwtBy(t *testing.T, key *rsa.PrivateKey, header, claims string) string {
	t.Helper()
	text := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// tokenRow is a line of the corpus of attacks on JWTs. check "" is: accepted.
type tokenRow struct{ name, token, check string }

// tokenRows are the lines that can be sent in a header. Each is named by its number.
func tokenRows(t *testing.T) []tokenRow {
	t.Helper()
	claims := goodClaims()
	good := jwt(t, goodHeader, claims)
	parts := strings.Split(good, ".")
	head := func(h string) string { return jwt(t, h, claims) }
	claim := func(old, new string) string {
		if !strings.Contains(claims, old) {
			t.Fatalf("%q is not in the claims", old)
		}
		return jwt(t, goodHeader, strings.Replace(claims, old, new, 1))
	}
	at := func(name string, d time.Duration) string {
		c := strings.Split(strings.TrimSuffix(claims, "}"), ",")
		for i := range c {
			if strings.HasPrefix(c[i], `"`+name+`"`) {
				c[i] = fmt.Sprintf(`%q:%d`, name, time.Now().Add(d).Unix())
			}
		}
		return jwt(t, goodHeader, strings.Join(c, ",")+"}")
	}
	hs256 := func(key []byte) string {
		text := encode(`{"alg":"HS256","kid":"2"}`) + "." + parts[1]
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	key, err := token.ParseKey(cptest.SigningKey())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := token.ParseKey(cptest.NewKey(t))
	if err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	return []tokenRow{
		{"1 as it should be", good, ""},
		{"2 alg none, no signature", encode(`{"alg":"none","kid":"2"}`) + "." + parts[1] + ".", "malformed"},
		{"3 alg none, signature kept", encode(`{"alg":"none","kid":"2"}`) + "." + parts[1] + "." + parts[2], "algorithm"},
		{"4 HS256, public key as the secret", hs256(x509.MarshalPKCS1PublicKey(&key.PublicKey)), "algorithm"},
		{"5 HS256, empty key", hs256(nil), "algorithm"},
		{"6 PS256", head(`{"alg":"PS256","kid":"2"}`), "algorithm"},
		{"7 signature stripped", parts[0] + "." + parts[1] + ".", "malformed"},
		{"7 dot removed", parts[0] + "." + parts[1], "malformed"},
		{"7 fourth segment", good + ".x", "malformed"},
		{"7 only dots", "..", "malformed"},
		{"7 dots without end", strings.Repeat(".", 50<<10), "malformed"},
		{"8 claims changed", parts[0] + "." + encode(strings.Replace(claims, "dp-1", "dp-2", 1)) + "." + parts[2], "signature"},
		{"8 longer than 8 KiB", claim(`"dp-1"`, `"`+strings.Repeat("a", 8<<10)+`"`), "malformed"},
		{"9 unused bits of the last character", good[:len(good)-1] + string(alphabet[last^1]), "malformed"},
		{"10 a bit of the signature", parts[0] + "." + parts[1] + "." + string(alphabet[strings.IndexByte(alphabet, parts[2][0])^32]) + parts[2][1:], "signature"},
		{"11 padding", good + "=", "malformed"},
		{"11 standard alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(good), "malformed"},
		{"11 leading space", " " + good, "malformed"},
		{"11 trailing space", good + " ", "malformed"},
		{"12 a space inside", good[:20] + " " + good[20:], "malformed"},
		{"13 Mesh twice", claim(`"Mesh":"default"`, `"Mesh":"other","Mesh":"default"`), "malformed"},
		{"13 Mesh and mesh", claim(`"Mesh":"default"`, `"Mesh":"default","mesh":"default"`), "malformed"},
		{"14 alg twice", head(`{"alg":"none","alg":"RS256","kid":"2"}`), "malformed"},
		{"15 a key in the header", jwtBy(t, foreign, `{"alg":"RS256","kid":"2","jwk":{"kty":"RSA"},"jku":"http://127.0.0.1:1/"}`, claims), "signature"},
		{"15 a key in the header, unused", head(`{"alg":"RS256","kid":"2","jku":"http://127.0.0.1:1/","x5c":["a"]}`), ""},
		{"16 crit", head(`{"alg":"RS256","kid":"2","crit":["exp"]}`), "malformed"},
		{"17 no kid", head(`{"alg":"RS256"}`), "malformed"},
		{"17 kid a number", head(`{"alg":"RS256","kid":2}`), "malformed"},
		{"17 kid a list", head(`{"alg":"RS256","kid":["2"]}`), "malformed"},
		{"17 kid of 4 KiB", head(`{"alg":"RS256","kid":"` + strings.Repeat("2", 4<<10) + `"}`), "malformed"},
		{"18 kid a path", head(`{"alg":"RS256","kid":"../2"}`), "malformed"},
		{"19 kid 02", head(`{"alg":"RS256","kid":"02"}`), "key"},
		{"19 kid in full width", head(`{"alg":"RS256","kid":"２"}`), "malformed"},
		{"20 kid of another key", head(`{"alg":"RS256","kid":"1"}`), "signature"},
		{"21 kid of no key", head(`{"alg":"RS256","kid":"3"}`), "key"},
		{"22 a stranger's key", jwtBy(t, foreign, goodHeader, claims), "signature"},
		{"25 typ at+jwt", head(`{"alg":"RS256","kid":"2","typ":"at+jwt"}`), "malformed"},
		{"26 two headers", head(goodHeader + `{}`), "malformed"},
		{"27 claims a list", jwt(t, goodHeader, `[]`), "malformed"},
		{"27 no claims", jwt(t, goodHeader, `{}`), "malformed"},
		{"28 not UTF-8", claim("dp-1", "dp-\xff"), "malformed"},
		{"29 exp in quotes", claim(`"exp":`, `"exp":"1795438800","x":`), "malformed"},
		{"30 no exp", claim(`"exp":`, `"x":`), "malformed"},
		{"31 exp now", at("exp", 0), "expired"},
		{"31 exp a second ago", at("exp", -time.Second), "expired"},
		{"31 exp in a while", at("exp", time.Minute), ""},
		{"32 nbf beyond the leeway", at("nbf", 2*time.Minute), "not-yet-valid"},
		{"33 iat in an hour", at("iat", time.Hour), "not-yet-valid"},
		{"33 exp before nbf", at("nbf", 2*time.Hour), "malformed"},
		{"37 no Mesh", claim(`"Mesh":"default",`, ``), "mesh"},
		{"37 Mesh empty", claim(`"Mesh":"default"`, `"Mesh":""`), "mesh"},
		{"37 Mesh Default", claim(`"Mesh":"default"`, `"Mesh":"Default"`), "mesh"},
		{"37 Mesh with a space", claim(`"Mesh":"default"`, `"Mesh":"default "`), "mesh"},
		{"38 another Mesh", claim(`"Mesh":"default"`, `"Mesh":"other"`), "mesh"},
		{"39 Tags null", claim(`{"kuma.io/service":["web"]}`, `null`), ""},
		{"39 no Tags", claim(`"Tags":{"kuma.io/service":["web"]},`, ``), ""},
		{"40 Name a number", claim(`"dp-1"`, `1`), "malformed"},
		{"41 tag a text", claim(`["web"]`, `"web"`), "malformed"},
		{"42 Type admin", claim(`"Type":"dataplane"`, `"Type":"admin"`), "type"},
		{"43 Bearer", "Bearer " + good, ""},
		{"43 bearer", "bearer " + good, "malformed"},
		{"43 Bearer twice", "Bearer Bearer " + good, "malformed"},
		{"44 empty", "", "missing"},
	}
}

// boundary are the checks that say: genuine, but not for this proxy.
var boundary = map[string]bool{"mesh": true, "name": true, "tags": true, "type": true, "workload": true}

// refused checks the end of a refused stream: its code by the check that failed, and what it says.
func (s *stream) refused(check, raw string) {
	s.t.Helper()
	code := codes.Unauthenticated
	if boundary[check] {
		code = codes.PermissionDenied
	}
	message := s.ended(code, "token refused: ", "; ")
	if strings.ContainsAny(message, "\r\n") {
		s.t.Errorf("not one line: %q", message)
	}
	if strings.Contains(message, "canary") {
		s.t.Errorf("a claim in the message: %q", message)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) >= 8 && strings.Contains(message, part[:8]) {
			s.t.Errorf("a part of the token in the message: %q", message)
		}
	}
}

// Every line of the corpus has its verdict on a stream, for its own reason; and who is refused leaves no trace but a
// number and a line in the log without a word of the token.
func TestTokenRows(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("dp-1", dataplane("dp-1", "web"))
	before, want, got := p.contents(), map[string]int{}, map[string]int{}
	for _, row := range tokenRows(t) {
		if row.check != "" && want[row.check] == 0 {
			got[row.check] = -p.metric(refusals(row.check)) // what happened before
		}
		for _, variant := range variants {
			t.Run(row.name+" "+variant, func(t *testing.T) {
				s := p.open(p.conn, variant, row.token)
				s.t = t
				s.askAs(node(t, "default.dp-1", brought(dataplane("dp-1", "web"))), xds.TypeCluster)
				if row.check != "" {
					s.refused(row.check, row.token)
					want[row.check]++
				} else {
					s.expect(xds.TypeCluster)
				}
				s.cancel()
			})
		}
		if len(row.token) > 40 && strings.Contains(p.log.String(), row.token[len(row.token)-40:]) {
			t.Errorf("%s: the token is in the log", row.name)
		}
	}
	if after := p.contents(); after != before {
		t.Errorf("the store has changed from %s to %s", before, after)
	}
	for check, n := range want {
		if got[check] += p.metric(refusals(check)); got[check] != n {
			t.Errorf("%d refusals counted for %s, want %d", got[check], check, n)
		}
	}
}

func refusals(check string) string { return fmt.Sprintf("koguma_refusals_total{check=%q}", check) }

// No token at all, and two of them.
func TestTokenCount(t *testing.T) {
	t.Parallel()
	p := start(t)
	good := jwt(t, goodHeader, goodClaims())
	for check, values := range map[string][]string{"missing": {}, "malformed": {good, good}} {
		s := p.open(p.conn, "sotw", values...)
		s.askAs(node(t, "default.dp-1", brought(dataplane("dp-1", "web"))), xds.TypeCluster)
		s.refused(check, good)
	}
	if names := p.dataplanes(); names != "" {
		t.Errorf("there are Dataplanes: %s", names)
	}
}

// Rows 21 and 23: a key that is taken away, and a mesh that is made anew, leave nothing of their tokens.
func TestTokenOfAnotherTime(t *testing.T) {
	t.Parallel()
	p := start(t)
	refused := func(id, raw, check string) {
		t.Helper()
		p.eventually("a refusal", func() bool {
			before := p.metric(refusals(check))
			s := p.open(p.conn, "sotw", raw)
			s.askAs(node(t, id, nil), xds.TypeCluster)
			_, err := s.ads.recv()
			return err != nil && p.metric(refusals(check)) == before+1
		})
	}
	p.put("/meshes/brief", `{"type":"Mesh","name":"brief"}`)
	raw := p.rest("POST", "/tokens/dataplane", `{"mesh":"brief","validFor":"1h"}`)
	d := strings.ReplaceAll(dataplane("dp-1", "web"), `"default"`, `"brief"`)
	p.eventually("the token to hold", func() bool {
		s := p.open(p.conn, "sotw", raw)
		s.askAs(node(t, "brief.dp-1", brought(d)), xds.TypeCluster)
		_, err := s.ads.recv()
		s.leave()
		return err == nil
	})
	p.eventually("the mesh to be empty", func() bool { return !strings.Contains(p.rest("GET", "/dataplanes", ""), "dp-1") })
	p.delete("/meshes/brief")
	refused("brief.dp-1", raw, "key")
	p.put("/meshes/brief", `{"type":"Mesh","name":"brief"}`)
	refused("brief.dp-1", raw, "signature")
	p.delete("/meshes/default/secrets/" + cptest.KeyName(2))
	refused("default.dp-1", sign(t, token.Claims{Mesh: "default"}), "key")
}

// What is wrong with a node or its Dataplane is told to those whose token is good, and to nobody else; nothing is kept.
func TestNodeRefused(t *testing.T) {
	t.Parallel()
	p := start(t)
	web := dataplane("dp-1", "web")
	before := p.contents()
	for _, c := range []struct {
		name, id string
		data     map[string]any
		code     codes.Code
		say      string
	}{
		{"id without a name", "default", nil, codes.InvalidArgument, "<mesh>.<name"},
		{"id with an empty name", "default.", nil, codes.InvalidArgument, "<mesh>.<name"},
		{"id with a path", "default.../x", nil, codes.InvalidArgument, "<mesh>.<name"},
		{"id in upper case", "default.DP-1", nil, codes.InvalidArgument, "<mesh>.<name"},
		{"no id", "", nil, codes.InvalidArgument, "node with an id"},
		{"long id", "default." + strings.Repeat("a", 254), nil, codes.InvalidArgument, "<mesh>.<name"},
		{"no Dataplane", "default.dp-1", nil, codes.NotFound, "kumactl apply"},
		{"ingress", "default.dp-1", map[string]any{"dataplane.proxyType": "ingress", "dataplane.resource": web}, codes.InvalidArgument, "ingress"},
		{"no document", "default.dp-1", brought("{"), codes.InvalidArgument, "line 1"},
		{"an unknown field", "default.dp-1", brought(strings.Replace(web, `"inbound"`, `"inbounds"`, 1)), codes.InvalidArgument, "inbounds"},
		{"a Mesh", "default.dp-1", brought(`{"type":"Mesh","name":"default"}`), codes.InvalidArgument, "not a Dataplane"},
		{"not valid", "default.dp-1", brought(strings.Replace(web, address("dp-1"), "0.0.0.0", 1)), codes.InvalidArgument, "networking.address"},
		{"33 another name", "default.dp-2", brought(web), codes.PermissionDenied, "dp-2"},
		{"34 another mesh", "default.dp-1", brought(strings.Replace(web, `"default"`, `"other"`, 1)), codes.PermissionDenied, "other"},
		{"37 the name of a mesh's resource", "default.default_ca", nil, codes.InvalidArgument, "<mesh>.<name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for raw, code := range map[string]codes.Code{sign(t, token.Claims{Mesh: "default"}): c.code, "nonsense": codes.Unauthenticated} {
				s := p.open(p.conn, "sotw", raw)
				s.t = t
				s.askAs(node(t, c.id, c.data), xds.TypeCluster)
				switch {
				case code == c.code:
					if m := s.ended(code, c.say); strings.ContainsAny(m, "\r\n") {
						t.Errorf("not one line: %q", m)
					}
				case c.say == "<mesh>.<name" || c.id == "": // there is no mesh to look for keys in
				default:
					s.refused("malformed", raw)
				}
				s.cancel()
			}
		})
	}
	if after := p.contents(); after != before {
		t.Errorf("the store has changed from %s to %s", before, after)
	}
}
