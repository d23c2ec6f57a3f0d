package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Of a token in a file only the id is sent: its "jti" or, where it has none, the hash of its text, by which a control
// plane knows it.
func TestRevokeSendsTheIDOnly(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	text := func(claims string) string {
		return encode([]byte(`{"alg":"RS256","kid":"key-1"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
	}
	anonymous := text(`{"Mesh":"m2","exp":1795438800}`)
	sum := sha256.Sum256([]byte(anonymous))
	for token, id := range map[string]string{
		text(`{"Mesh":"m2","jti":"0e120ec9","exp":1795438800}`): "0e120ec9",
		anonymous: hex.EncodeToString(sum[:]),
	} {
		var sent string
		address := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sent = r.Method + " " + r.URL.Path + " " + string(body)
			io.WriteString(w, `{"added":1,"total":1}`)
		})
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := kumactl(t, address, "revoke", "dataplane-token", "--token-file", file)
		if want := fmt.Sprintf(`POST /tokens/dataplane/revocations {"mesh":"m2","ids":[%q]}`, id); sent != want {
			t.Errorf("sent %s, want %s", sent, want)
		}
		if got.code != 0 || strings.Contains(got.stdout+got.stderr, "eyJ") {
			t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
		}
	}
}

// An id that the list could not hold is refused here, and not repeated: it may be a secret.
func TestRevokeRefusesOddIDs(t *testing.T) {
	t.Parallel()
	address := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusTeapot)
	})
	for _, id := range []string{"", "a,b", "canary canary", "eyJcanary.eyJ.x", strings.Repeat("canary", 30)} {
		got := kumactl(t, address, "revoke", "dataplane-token", "--jti", id)
		if got.code != 1 || strings.Contains(got.stderr, "canary") {
			t.Errorf("%q: exit code %d: %s", id, got.code, got.stderr)
		}
	}
}
