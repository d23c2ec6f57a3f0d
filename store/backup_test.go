package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
	"koguma/store"
)

// content is all that a store holds: records by key, times included, and the newest version.
type content struct {
	version   uint64
	resources map[string]string
}

func contents(t *testing.T, s store.Store) content {
	t.Helper()
	b := newBackup(t, s)
	c := content{b.Version, map[string]string{}}
	for _, r := range b.Resources {
		data, err := (&store.Backup{Resources: []policy.Resource{r}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.resources[r.Metadata().Key().String()] = strings.Split(string(data), "\n")[1]
	}
	return c
}

// Equal lets cmp look into it.
func (c content) Equal(o content) bool {
	return c.version == o.version && cmp.Equal(c.resources, o.resources)
}

func newBackup(t *testing.T, s store.Store) *store.Backup {
	t.Helper()
	b, err := store.NewBackup(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reread is the backup after it was kept, sealed, and read again.
func reread(t *testing.T, b *store.Backup) *store.Backup {
	t.Helper()
	data, err := b.Marshal(newKeys(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := store.ReadBackup(data, newKeys(t, "b", "a"))
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// writeAll writes something of each sort, so that there are versions of what is gone.
func writeAll(t *testing.T, s store.Store) {
	t.Helper()
	mesh := &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"}}
	put(t, s, mesh, proxy(9, "1"), proxy(1, "1"), signingKey("s3cret"), newSecret("default", "a<b>&\u2028", "s3cret"))
	put(t, s, proxy(1, "2"))
	if err := store.Delete(t.Context(), s, proxy(9, "").Key()); err != nil {
		t.Fatal(err)
	}
}

// testBackups is what is true of backups, for each sort of store. Each call of open is an empty one.
func testBackups(t *testing.T, open func(t *testing.T) store.Store) {
	from := open(t)
	defer from.Close()
	writeAll(t, from)
	b := reread(t, newBackup(t, from))
	old := newBackup(t, from)
	if b.Version != old.Version || !b.Time.Equal(old.Time) && time.Since(b.Time) > time.Minute {
		t.Errorf("got a backup of version %d of %s", b.Version, b.Time)
	}

	into := open(t)
	defer into.Close()
	if _, err := b.Restore(t.Context(), into, false); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, into, b, b.Version)
	if _, err := b.Restore(t.Context(), into, false); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("a store that is not empty: got error %v", err)
	}

	// Time travel: what came since goes, what went since comes back, and the versions go on from the newest.
	w, err := into.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, into, proxy(1, "later"), proxy(2, "later"))
	if err := store.Delete(t.Context(), into, signingKey("").Key()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := newBackup(t, into)
	before, err := b.Restore(t.Context(), into, true)
	if err != nil || before.Version != later.Version || len(before.Resources) != len(later.Resources) {
		t.Fatalf("got %+v, error %v; want what was there before", before, err)
	}
	checkRestored(t, into, b, later.Version)
	checkWatchSees(t, w, b, proxy(2, "").Key())
}

// checkRestored checks that s holds what b does, with its times, under versions that are greater than all before.
func checkRestored(t *testing.T, s store.Store, b *store.Backup, newest uint64) {
	t.Helper()
	now := newBackup(t, s)
	if len(now.Resources) != len(b.Resources) {
		t.Fatalf("there are %d resources, want %d", len(now.Resources), len(b.Resources))
	}
	for i, got := range now.Resources {
		want, m := b.Resources[i], got.Metadata()
		if w := want.Metadata(); !store.Same(want, got) || !m.CreationTime.Equal(w.CreationTime) || !m.ModificationTime.Equal(w.ModificationTime) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if m.Version < newest+1<<20 {
			t.Errorf("%s is at version %d; up to %d had been used", m.Key(), m.Version, newest)
		}
	}
}

// checkWatchSees checks that the watch shows everything that was restored, and that gone went, at once.
func checkWatchSees(t *testing.T, w *store.Watch, b *store.Backup, gone policy.Key) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	events, err := w.Next(ctx)
	if err != nil || len(events) != len(b.Resources)+1 {
		t.Fatalf("the watch saw %d events, error %v; want %d", len(events), err, len(b.Resources)+1)
	}
	for _, e := range events {
		if (e.Key == gone) != (e.Resource == nil) {
			t.Errorf("%s: got %v", e.Key, e.Resource)
		}
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return store.NewMemory() },
		"file":   func(t *testing.T) store.Store { return openFile(t, filepath.Join(t.TempDir(), "store.db")) },
		"sealed file": func(t *testing.T) store.Store {
			return openSealed(t, filepath.Join(t.TempDir(), "store.db"), newKeys(t, "a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBackups(t, open)
		})
	}
}

// A restored file is opened again as it is, and an older backup leads to newer versions too.
func TestRestoredFileOutlivesRestart(t *testing.T) {
	t.Parallel()
	from := store.NewMemory()
	defer from.Close()
	writeAll(t, from)
	old := newBackup(t, from)
	put(t, from, proxy(3, "1"))
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	for _, b := range []*store.Backup{newBackup(t, from), old} {
		newest := newBackup(t, s).Version
		if _, err := b.Restore(t.Context(), s, true); err != nil {
			t.Fatal(err)
		}
		before := contents(t, s)
		closeStore(t, s)
		s = openFile(t, path)
		if d := cmp.Diff(before, contents(t, s)); d != "" {
			t.Errorf("(-before +after):\n%s", d)
		}
		checkRestored(t, s, b, newest)
	}
	closeStore(t, s)
}

// With keys a backup has no secret in clear; without them it has.
func TestBackupIsSealed(t *testing.T) {
	t.Parallel()
	text, forms := newKeyPEM(t)
	s := store.NewMemory()
	defer s.Close()
	put(t, s, signingKey(text))
	b := newBackup(t, s)
	clear, err := b.Marshal(nil)
	if err != nil || found(clear, forms) == nil {
		t.Fatalf("error %v, or the test shows nothing", err)
	}
	sealed, err := b.Marshal(newKeys(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if names := found(sealed, forms); names != nil {
		t.Errorf("in the backup there is %q", names)
	}
	for _, keys := range []*store.Keys{nil, newKeys(t, "b")} {
		if _, err := store.ReadBackup(sealed, keys); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), "line 2: "+signingKey("").Key().String()) {
			t.Errorf("got error %v", err)
		}
	}
}

// signed is a backup with the checksum that it should have.
func signed(lines ...string) string {
	text := strings.Join(lines, "\n") + "\n"
	sum := sha256.Sum256([]byte(text))
	return text + fmt.Sprintf("{%q:%q}\n", "sha256", hex.EncodeToString(sum[:]))
}

// Each way in which a backup can be bad has an error of its own.
func TestBadBackups(t *testing.T) {
	t.Parallel()
	const (
		head = `{"format":"koguma-backup/1","time":"2026-11-23T12:00:00Z","version":9,"resources":2}`
		a    = `{"type":"Secret","record":{"version":1,"resource":{"type":"Secret","mesh":"default","name":"a"}}}`
		b    = `{"type":"Secret","record":{"version":2,"resource":{"type":"Secret","mesh":"default","name":"b"}}}`
	)
	good := signed(head, a, b)
	if _, err := store.ReadBackup([]byte(good), nil); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":                {"", "is no backup"},
		"something else":       {"type: Mesh\nname: default\n", "is no backup"},
		"another format":       {signed(strings.Replace(head, "/1", "/2", 1), a, b), `format "koguma-backup/2"`},
		"a header alone":       {head + "\n", "is cut off"},
		"cut off at a line":    {strings.Join([]string{head, a, b, ""}, "\n"), "is cut off"},
		"cut off in a line":    {good[:len(good)-40], "is cut off"},
		"cut off at the end":   {good[:len(good)-1], "is cut off"},
		"a line is missing":    {strings.Replace(good, a+"\n", "", 1), "is damaged"},
		"a letter is another":  {strings.Replace(good, `"b"`, `"c"`, 1), "is damaged"},
		"something follows":    {good + good, "is damaged"},
		"too few":              {signed(head, a), "holds 1 resources, and says that there are 2"},
		"twice the same":       {signed(head, a, a), `line 3: Secret "a" of mesh "default": the resource is out of order`},
		"another order":        {signed(head, b, a), `Secret "a" of mesh "default": the resource is out of order`},
		"a type that is none":  {signed(head, a, strings.ReplaceAll(b, "Secret", "Trinket")), `line 3: there is no type "Trinket"`},
		"of another type":      {signed(head, a, strings.Replace(b, "Secret", "Mesh", 1)), "line 3: "},
		"an unknown field":     {signed(head, a, strings.Replace(b, `"name"`, `"colour":"red","name"`, 1)), "colour"},
		"no name":              {signed(head, strings.Replace(a, `"a"`, `""`, 1), b), "without a name"},
		"newer than the store": {signed(head, a, strings.Replace(b, `"version":2`, `"version":10`, 1)), "version 10 is newer than the store"},
		"no version at all":    {signed(head, a, strings.Replace(b, `"version":2`, `"version":0`, 1)), "with a version"},
		"an endless version":   {signed(strings.Replace(head, ":9", ":18446744073709551615", 1), a, b), "is none that a store comes to"},
	} {
		if _, err := store.ReadBackup([]byte(tt.text), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, tt.want)
		}
	}
	for i := range good {
		damaged := []byte(good)
		damaged[i] ^= 4
		if _, err := store.ReadBackup(damaged, nil); err == nil {
			t.Errorf("byte %d is another, and nobody noticed", i)
		}
	}
}
