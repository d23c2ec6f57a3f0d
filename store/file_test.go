package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"koguma/policy"
	"koguma/store"
)

func put(t *testing.T, s store.Store, resources ...policy.Resource) {
	t.Helper()
	for _, r := range resources {
		if _, err := store.Put(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, s store.Store, typ policy.Type) []policy.Resource {
	t.Helper()
	all, err := s.List(t.Context(), typ, "")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// refused checks that the file cannot be opened and that the error says all of want.
func refused(t *testing.T, path string, want ...string) error {
	t.Helper()
	s, err := store.OpenFile(path)
	if err == nil {
		s.Close()
		t.Fatalf("the file was opened, want an error that says %q", want)
	}
	for _, w := range append(want, path) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got error %q, want it to say %q", err, w)
		}
	}
	return err
}

// All that was written is there after a restart, as it was: versions, times, and the counter that goes on.
func TestFileOutlivesRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "store.db")
	s := openFile(t, path)
	mesh := &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"}}
	for i := range 30 {
		put(t, s, proxy(i, "1"))
	}
	put(t, s, mesh, proxy(7, "2"), proxy(99, "1"))
	for _, k := range [][2]string{{"a", "bc"}, {"a", "c"}, {"ab", "c"}, {"a%", "c"}} { // easily taken for each other
		d := proxy(0, "1")
		d.Mesh, d.Name = k[0], k[1]
		put(t, s, d)
	}
	gone, err := s.Get(t.Context(), proxy(99, "").Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), s, proxy(99, "").Key()); err != nil {
		t.Fatal(err)
	}
	before := append(list(t, s, policy.TypeDataplane), list(t, s, policy.TypeMesh)...)
	closeStore(t, s)

	s = openFile(t, path)
	defer s.Close()
	after := append(list(t, s, policy.TypeDataplane), list(t, s, policy.TypeMesh)...)
	if len(before) != 35 || len(after) != len(before) {
		t.Fatalf("%d resources before and %d after", len(before), len(after))
	}
	for i := range before {
		b, a := before[i].Metadata(), after[i].Metadata()
		if !store.Same(before[i], after[i]) || b.Version != a.Version || !b.CreationTime.Equal(a.CreationTime) ||
			!b.ModificationTime.Equal(a.ModificationTime) {
			t.Errorf("got %+v, want %+v", a, b)
		}
	}
	put(t, s, proxy(99, "1"))
	if again, _ := s.Get(t.Context(), proxy(99, "").Key()); again.Metadata().Version <= gone.Metadata().Version {
		t.Errorf("version %d came after %d", again.Metadata().Version, gone.Metadata().Version)
	}
}

// Only the user of the control plane reads its keys, whatever the umask was and whoever made the file.
func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work", "dir")
	path := filepath.Join(dir, "store.db")
	for range 2 {
		closeStore(t, openFile(t, path))
		for p, want := range map[string]os.FileMode{path: 0o600, dir: 0o700, filepath.Dir(dir): 0o700} {
			info, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", p, got, want)
			}
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	if err := refused(t, path, "another kuma-cp has it open"); !errors.Is(err, store.ErrInUse) {
		t.Errorf("got error %v, want %v", err, store.ErrInUse)
	}
	put(t, s, proxy(1, "1")) // the first is not disturbed
	closeStore(t, s)
	closeStore(t, openFile(t, path))
}

func TestPathThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refused(t, dir, "is a directory")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, filepath.Join(dir, "file", "store.db"), "not a directory")
}

// smallDisk is a file system of the given size that only the calling goroutine sees, and that goes with it, however it
// ends.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	runtime.LockOSThread() // for good: the thread ends with the goroutine, and the file system with the thread
	err := syscall.Unshare(syscall.CLONE_NEWNS)
	if err == nil {
		err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	}
	if err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+size)
	}
	if err != nil {
		t.Fatalf("a small file system is needed to fill, and root to mount it: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a process that another test is just starting may still have its files.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// A write for which the disk has no room is refused, what was there stays, and when there is room again it goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "256k")
	path := filepath.Join(dir, "store.db")
	s := openFile(t, path)
	written := 0
	var full error
	for full == nil && written < 1000 {
		if _, full = store.Put(t.Context(), s, proxy(written, "1")); full == nil {
			written++
		}
	}
	if !errors.Is(full, syscall.ENOSPC) || !strings.Contains(full.Error(), path) || written < 10 {
		t.Fatalf("after %d writes: got error %v, want one that says that the disk is full", written, full)
	}
	check := func(s store.Store) {
		t.Helper()
		if got := len(list(t, s, policy.TypeDataplane)); got != written {
			t.Errorf("%d resources, want the %d that were written", got, written)
		}
	}
	check(s)
	for range 3 {
		if _, err := store.Put(t.Context(), s, proxy(written, "1")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the disk is still full: got error %v", err)
		}
	}
	closeStore(t, s)
	s = openFile(t, path)
	check(s)

	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	put(t, s, proxy(written, "1"))
	written++
	check(s)
	closeStore(t, s)
	s = openFile(t, path)
	check(s)
	closeStore(t, s)
}

// When the disk refuses a commit, but may have kept it, nothing is built on it any more.
func TestDoubtfulCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	put(t, s, proxy(1, "1"))
	store.LoseNextCommit(s)
	for i := range 3 {
		_, err := store.Put(t.Context(), s, proxy(2, strconv.Itoa(i)))
		if err == nil || !strings.Contains(err.Error(), "restart kuma-cp") {
			t.Errorf("got error %v, want one that says to restart", err)
		}
	}
	if got := len(list(t, s, policy.TypeDataplane)); got != 1 {
		t.Errorf("%d resources are visible, want the 1 that was written for sure", got)
	}
	closeStore(t, s)
	s = openFile(t, path)
	if got := fmt.Sprint(len(list(t, s, policy.TypeDataplane))); got != "2" {
		t.Errorf("%s resources after the restart, want what the disk has", got)
	}
	put(t, s, proxy(3, "1"))
	closeStore(t, s)
}
