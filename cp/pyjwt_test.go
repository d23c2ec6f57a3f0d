package cp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"koguma/cp/cptest"
	"koguma/cp/settings"
)

// madeByPyJWT are tokens by a JWT library that is not ours, by what is special about them.
func madeByPyJWT(t *testing.T, private []byte, exp time.Time, url string) map[string]string {
	t.Helper()
	cmd := exec.Command("../.tools/venv-jwt/bin/python", "testdata/pyjwt.py", fmt.Sprint(exp.Unix()), url)
	cmd.Stdin = bytes.NewReader(private)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("no tokens; run make tools: %v\n%s", err, &stderr)
	}
	var tokens map[string]string
	if err := json.Unmarshal(out, &tokens); err != nil {
		t.Fatal(err)
	}
	return tokens
}

// A token that another library made with RS256 and the claims that matter lets its proxy in, whatever else it says. What
// it says of keys is neither fetched nor believed. Without a jti it is revoked by the SHA-256 of its text.
func TestTokensByPyJWT(t *testing.T) {
	t.Parallel()
	var fetched atomic.Int32
	keys := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer keys.Close()
	private := cptest.SigningKey()
	public, _ := publicPEM(t, private)
	p := boot(t, validator(false, false, settings.PublicKeyConf{KID: "key-1", Mesh: "default", Key: public})).reach()
	p.apply("dp-1", dataplane("dp-1", "web")) // so that it does not go with its proxy
	tokens := madeByPyJWT(t, private, time.Now().Add(time.Hour), keys.URL)
	for name, check := range map[string]string{
		"plain": "", "keys in the header": "", "more claims": "",
		"crit": "malformed", "another key, in the header": "signature", "another algorithm": "algorithm", "another service": "tags",
		"another mesh": "mesh", "without an end": "malformed", "expired": "expired",
	} {
		if tokens[name] == "" {
			t.Errorf("there is no token called %q", name)
		} else if check == "" {
			p.comes(tokens[name], "dp-1").leave()
		} else {
			p.turnedAway(tokens[name], check)
		}
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("%d requests for what a token names", n)
	}

	live := p.comes(tokens["revoked"], "dp-1")
	sum := sha256.Sum256([]byte(tokens["revoked"]))
	const list = "dataplane-token-revocations-default"
	begin := time.Now()
	p.put("/meshes/default/secrets/"+list, cptest.SecretJSON(list, []byte(hex.EncodeToString(sum[:]))))
	live.ended(codes.Unauthenticated, "revoked")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	p.turnedAway(tokens["revoked"], "revoked")
	p.comes(tokens["plain"], "dp-1").leave()
}
