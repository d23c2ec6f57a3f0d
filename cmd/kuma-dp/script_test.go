package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
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
// default, expired was, and other is for another mesh. expired.pem is a CA that was one, and ca.key its key. Nobody listens at
// the address of the control plane.
func TestScript(t *testing.T) {
	t.Parallel()
	keyPEM, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.ParseKey(keyPEM)
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
			if err := writeExpiredCA(env.WorkDir); err != nil {
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

// writeExpiredCA writes expired.pem and ca.key.
func writeExpiredCA(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "expired"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(write("expired.pem", "CERTIFICATE", cert), write("ca.key", "PRIVATE KEY", der))
}
