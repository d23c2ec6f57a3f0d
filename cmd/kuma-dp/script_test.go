package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/token"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kuma-dp": main})
}

// TestScript runs testdata/script. Each script finds tokens in its directory: good is for the Dataplane web-1 of mesh
// default, expired was, and other is for another mesh. Nobody listens at the address of the control plane.
func TestScript(t *testing.T) {
	t.Parallel()
	pem, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.ParseKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every kuma-dp that is built with -race lingers for a second
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			if err := os.Mkdir(filepath.Join(env.WorkDir, "tmp"), 0o700); err != nil {
				return err
			}
			now := time.Now()
			for name, c := range map[string]token.Claims{
				"good":    {Name: "web-1", Mesh: "default", ExpiresAt: now.Add(time.Hour)},
				"expired": {Name: "web-1", Mesh: "default", ExpiresAt: now.Add(-time.Hour)},
				"other":   {Name: "web-1", Mesh: "other", ExpiresAt: now.Add(time.Hour)},
			} {
				c.IssuedAt, c.NotBefore = now.Add(-2*time.Hour), now.Add(-2*time.Hour)
				raw, err := token.Sign(token.SigningKey{KID: "1", Key: key}, c)
				if err != nil {
					return err
				}
				env.Setenv("TOKEN_"+name, string(raw))
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(string(raw)+"\n"), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
