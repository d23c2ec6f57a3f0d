package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/store"
)

func rekey(t *testing.T, path string, keys *store.Keys, want int) {
	t.Helper()
	n, err := store.RekeyFile(path, keys)
	if err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Errorf("%d secrets were sealed anew, want %d", n, want)
	}
}

// A store that began in clear holds no key in clear once it was rekeyed, not even in those parts of the file that are not in
// use; nothing else changes, and the next key may take the place of the first.
func TestRekeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	text, forms := newKeyPEM(t)
	oldText, oldForms := newKeyPEM(t)
	s := openFile(t, path)
	put(t, s, signingKey(oldText), newSecret("other", "gone", oldText), newSecret("other", "kept", text), proxy(1, "1"))
	put(t, s, signingKey(text))
	if err := store.Delete(t.Context(), s, newSecret("other", "gone", "").Key()); err != nil {
		t.Fatal(err)
	}
	before := contents(t, s)
	closeStore(t, s)
	if names := foundInFile(t, path, oldForms); names == nil {
		t.Fatal("the test shows nothing: what was there before is not in the file")
	}

	rekey(t, path, newKeys(t, "a"), 2)
	for _, f := range []map[string][]byte{forms, oldForms} {
		if names := foundInFile(t, path, f); names != nil {
			t.Errorf("in the file there is %q", names)
		}
	}
	rekey(t, path, newKeys(t, "a"), 0)
	rekey(t, path, newKeys(t, "b", "a"), 2)
	keys := newKeys(t, "b")
	s = openSealed(t, path, keys)
	defer s.Close()
	if d := cmp.Diff(before, contents(t, s)); d != "" || keys.Stale() != 0 {
		t.Errorf("%d are stale (-before +after):\n%s", keys.Stale(), d)
	}
	put(t, s, proxy(2, "1"))
	if v := list(t, s, policy.TypeDataplane)[1].Metadata().Version; v != before.version+1 {
		t.Errorf("the next version is %d, want %d", v, before.version+1)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file has mode %o, want 600", mode)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("beside the store there is %v, error %v", files, err)
	}
}

// What cannot be opened, is in use or is not there is not rekeyed.
func TestRekeyRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	refuses := func(keys *store.Keys, want string) {
		t.Helper()
		if _, err := store.RekeyFile(path, keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	refuses(newKeys(t, "a"), "no such file")
	s := openSealed(t, path, newKeys(t, "a"))
	put(t, s, signingKey("s3cret"))
	refuses(newKeys(t, "b", "a"), "in use")
	closeStore(t, s)
	refuses(newKeys(t, "b"), "is not in ")
	closeStore(t, openSealed(t, path, newKeys(t, "a")))
}

// Who waited for the lock of a file that was replaced meanwhile must not write to what is no longer there.
func TestReplacedFileIsNotOpened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	errs := make(chan error, 1)
	go func() {
		late, err := store.OpenFile(path)
		if err == nil {
			late.Close()
		}
		errs <- err
	}()
	awaitOpen(t, path, 2)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	err := <-errs // on a slow machine it has given up before
	if err == nil || !strings.Contains(err.Error(), "it was replaced meanwhile; start again") && !errors.Is(err, store.ErrInUse) {
		t.Errorf("got error %v", err)
	}
}

// awaitOpen waits until this process has the file open n times.
func awaitOpen(t *testing.T, path string, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody else opens the file")
		}
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == path {
				there++
			}
		}
		if there >= n {
			return
		}
	}
}
