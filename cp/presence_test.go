package cp_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp"
	"koguma/policy"
)

// presences are the files by which control planes of this machine know of each other.
func (f *planes) presences() []string {
	f.t.Helper()
	all, err := filepath.Glob(filepath.Join(f.dir, "control-planes", "*"))
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// A control plane that is started after another one of its machine has crashed does not wait for that one's lease, and neither do
// others. Those of its machine that live stay.
func TestCrashedControlPlaneIsSucceeded(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	f.share = (*cp.ControlPlane).ShareForLong
	elsewhere := f.boot() // in another work directory
	f.dir = t.TempDir()
	a, b := f.boot(), f.boot()
	elsewhere.hears(2)
	if n := len(f.presences()); n != 2 {
		t.Errorf("%d are present, want 2", n)
	}
	b.crash()
	c := f.boot()
	if _, err := f.store.Get(t.Context(), policy.Key{Type: policy.TypeControlPlane, Name: b.id}); err == nil {
		t.Error("the lease of the one that crashed is still there")
	}
	for _, m := range []*member{elsewhere, a, c} {
		m.hears(2)
		if log := m.log.String(); strings.Contains(log, "has not renewed its lease") {
			t.Errorf("it waited for a lease:\n%s", log)
		}
	}
	a.end()
	c.end()
	if left := f.presences(); len(left) != 0 {
		t.Errorf("they have left %v", left)
	}
}

// Whoever has ended is found by the next one of its machine, again and again until its lease is gone. What tells nothing is passed
// over: what is from before this machine was started, and what is none.
func TestPresenceTellsWhoHasEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "control-planes")
	if err := os.MkdirAll(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"before", "Not an id", ".new-1"} {
		if err := os.WriteFile(filepath.Join(folder, id), []byte("another-boot\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("Not an id", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	away := errors.New("the store is away")
	for i, c := range []struct {
		id, want string
		err      error
	}{
		{"a", "", nil}, // and leaves its presence behind, as all do
		{"b", "a", away},
		{"c", "a b", away},
		{"d", "a b c", nil},
		{"e", "d", nil},
	} {
		ended, err := cp.Bury(dir, c.id, c.err)
		if got := strings.Join(ended, " "); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%d: %s have ended, %v; want %s, %v", i, got, err, c.want, c.err)
		}
	}
	var left []string
	all, err := os.ReadDir(folder)
	for _, e := range all {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff([]string{".new-1", "Not an id", "e", "folder", "link"}, left); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Where the work directory takes nothing, leases lapse as ever, and the control plane comes up.
func TestPresenceWithoutAFolder(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	f.dir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(f.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if log := f.boot().log.String(); !strings.Contains(log, "its lease has to lapse first") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}
