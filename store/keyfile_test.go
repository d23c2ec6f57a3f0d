package store_test

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"koguma/store"
)

// keyLine is a key of its own for each letter, as a line of a key file.
func keyLine(letter string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

func newKeyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newKeys are the keys with these letters.
func newKeys(t *testing.T, letters ...string) *store.Keys {
	t.Helper()
	var lines []string
	for _, l := range letters {
		lines = append(lines, keyLine(l))
	}
	keys, err := store.ReadKeys(newKeyFile(t, lines...))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// A key is the same however it is written.
func TestKeyFileForms(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openSealed(t, path, newKeys(t, "a"))
	put(t, s, signingKey("s3cret"))
	closeStore(t, s)
	for _, lines := range [][]string{
		{hex.EncodeToString([]byte(strings.Repeat("a", 32)))},
		{strings.ToUpper(hex.EncodeToString([]byte(strings.Repeat("a", 32)))), ""},
		{strings.TrimRight(keyLine("a"), "=")},
		{"# the old one", keyLine("b"), "", "  " + keyLine("a") + "\r", ""},
	} {
		keys, err := store.ReadKeys(newKeyFile(t, lines...))
		if err != nil {
			t.Errorf("%q: %v", lines, err)
			continue
		}
		closeStore(t, openSealed(t, path, keys))
	}
}

// A file that is no key file is refused; the error says where and what to do, and nothing of a key.
func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 31)))
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{nil, "there is no key in it; make one: openssl rand -base64 32 >"},
		{[]string{"", "# nothing"}, "there is no key in it"},
		{[]string{keyLine("a"), short}, "line 2: the key has 31 bytes, and has to have 32"},
		{[]string{keyLine("a")[:20]}, "line 1: the key has 15 bytes"},
		{[]string{strings.Repeat("0123456789abcdeg", 4)}, "line 1: it is neither base64 nor hex"},
		{[]string{"key: " + keyLine("a")}, "line 1: it is neither base64 nor hex"},
		{[]string{keyLine("a") + " " + keyLine("b")}, "line 1: it is neither base64 nor hex"},
		{[]string{keyLine("a"), keyLine("b"), keyLine("a")}, "line 3: the key 3ba3f5f43b926026 is there twice"},
		{[]string{strings.Repeat("x", 70<<10)}, "no key file"},
	} {
		path := newKeyFile(t, tt.lines...)
		_, err := store.ReadKeys(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.80q: got error %v, want one that says %q", tt.lines, err, tt.want)
			continue
		}
		for _, line := range tt.lines {
			if len(line) >= 20 && strings.Contains(err.Error(), line[:20]) {
				t.Errorf("a line of the file is in the error: %v", err)
			}
		}
	}
	if _, err := store.ReadKeys(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: got error %v", err)
	}
	if _, err := store.ReadKeys(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: got error %v", err)
	}
}

// Keys that others can read, or replace, are refused.
func TestKeyFileOfOthers(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t, keyLine("a"))
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o620: false, 0o604: false, 0o610: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := store.ReadKeys(path)
		if ok && err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
		if !ok && (err == nil || !strings.Contains(err.Error(), "chmod 600 "+path)) {
			t.Errorf("mode %o: got error %v, want one that says what to do", mode, err)
		}
	}
}
