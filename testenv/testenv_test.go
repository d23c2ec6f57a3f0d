package testenv_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// A secret is found as it is and in base64, wherever it stands within the bytes that were encoded.
func TestFindSecretInFiles(t *testing.T) {
	t.Parallel()
	const secret = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ"
	for _, before := range []string{"", "x", "xy", "xyz"} {
		for name, content := range map[string]string{
			"plain":  before + secret + "after",
			"base64": base64.StdEncoding.EncodeToString([]byte(before + secret + "after")),
		} {
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			found, looked, err := testenv.FindSecret(testenv.Places{Dirs: []string{filepath.Dir(file)}}, secret)
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"file " + file}; !slices.Equal(found, want) || looked != 1 {
				t.Errorf("%s after %q: found %q in %d files, want %q in 1", name, before, found, looked, want)
			}
		}
	}
}

// What is excepted is not looked at, be it a file or a folder.
func TestFindSecretExcept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokens/web", "store", "log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("canary"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, _, err := testenv.FindSecret(testenv.Places{
		Dirs:   []string{dir},
		Except: []string{filepath.Join(dir, "tokens"), filepath.Join(dir, "store")},
	}, "canary")
	if want := []string{"file " + filepath.Join(dir, "log")}; err != nil || !slices.Equal(found, want) {
		t.Errorf("found %q, %v, want %q", found, err, want)
	}
}

// Every kind of private key in a mesh is found by the marks of keys, and a certificate is not.
func TestKeyMarks(t *testing.T) {
	t.Parallel()
	openssl := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = t.TempDir()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	ec := []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
	data := map[string][]byte{
		"EC PKCS #8 PEM": openssl(ec...),
		"EC PKCS #8 DER": openssl(append(ec, "-outform", "DER")...),
		"EC SEC 1 PEM":   openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"),
		"EC SEC 1 DER":   openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-outform", "DER"),
		"RSA PEM":        openssl("genrsa", "2048"),
		"RSA DER":        openssl("genpkey", "-algorithm", "RSA", "-outform", "DER"),
	}
	cert := []string{"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"}
	for name, d := range data {
		found, _, err := testenv.FindSecret(testenv.Places{Data: map[string][]byte{name: d}}, testenv.KeyMarks()...)
		if err != nil || !slices.Equal(found, []string{name}) {
			t.Errorf("%s: found %q, %v", name, found, err)
		}
	}
	for _, form := range []string{"PEM", "DER"} {
		clean := testenv.Places{Data: map[string][]byte{form: openssl(append(cert, "-outform", form)...)}}
		if found, _, err := testenv.FindSecret(clean, testenv.KeyMarks()...); err != nil || len(found) > 0 {
			t.Errorf("a certificate in %s is taken for a key: %q, %v", form, found, err)
		}
	}
}

// A secret in the arguments or the environment of a process is found there.
func TestFindSecretInProcess(t *testing.T) {
	t.Parallel()
	p, err := testenv.Start(testenv.Command{
		Name: "sleep", Path: "/bin/sh", Args: []string{"-c", "sleep 100; : canary-1"}, Env: []string{"X=canary-2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for needle, want := range map[string]string{"canary-1": "argument list", "canary-2": "environment"} {
		// A process that has just become another program may have neither for a moment.
		eventually(t, 5*time.Second, needle+" to be found in the "+want, func() error {
			found, _, err := testenv.FindSecret(testenv.Places{PIDs: []int{p.PID()}}, needle)
			if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], want) {
				return fmt.Errorf("found %q, %v", found, err)
			}
			return nil
		})
	}
}

// Nothing that a process started outlives its being killed, even what has left its group.
func TestKillLeavesNothing(t *testing.T) {
	t.Parallel()
	p, err := testenv.Start(testenv.Command{Name: "parent", Path: "/bin/sh", Args: []string{"-c", "setsid sleep 100 & sleep 100"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var children []int
	err = testenv.Eventually(ctx, "two children", func() error {
		if children = testenv.Descendants(p.PID()); len(children) != 2 {
			return os.ErrNotExist
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	for _, pid := range children {
		err := testenv.Eventually(ctx, "the child to be gone", func() error {
			if testenv.Alive(pid) {
				return os.ErrExist
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A process that is gone while it is waited for is reported at once, with its last words.
func TestAwaitReadyOfTheDead(t *testing.T) {
	t.Parallel()
	p, err := testenv.Start(testenv.Command{Name: "cp", Path: "/bin/sh", Args: []string{"-c", "echo store is in use; exit 1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	err = p.AwaitOK(t.Context(), "http://127.0.0.1:1/ready")
	if err == nil || !strings.Contains(err.Error(), "cp: store is in use") {
		t.Errorf("got %v, want the last words", err)
	}
}

// A stream through a server goes on until the server cuts it off.
func TestStreamIsCut(t *testing.T) {
	t.Parallel()
	w, err := testenv.ServeHTTP("backend")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	s, err := testenv.OpenStream(t.Context(), w.URL("/stream"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	select {
	case <-s.Closed:
		t.Fatal("closed although nobody cut it")
	case <-time.After(200 * time.Millisecond):
	}
	w.Close()
	select {
	case <-s.Closed:
	case <-time.After(10 * time.Second):
		t.Error("still open")
	}
}
