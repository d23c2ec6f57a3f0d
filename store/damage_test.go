package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"koguma/policy"
	"koguma/store"
)

// newFile is a new file with the data: bbolt may not let go of one in which it stumbled, as long as the process lives.
func newFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// edit changes the file behind the store's back.
func edit(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A record that cannot be read, or is not what it should be, keeps the store shut and is named.
func TestUnreadableRecordIsNamed(t *testing.T) {
	t.Parallel()
	const good = `{"version":1,"resource":{"type":"Secret","mesh":"default","name":"s"}}`
	for _, tt := range []struct{ key, record, want string }{
		{"default\x00s", good[:30], "unexpected EOF"},
		{"default\x00s", "", "EOF"},
		{"default\x00s", good + "{}", "more after the end"},
		{"default\x00s", strings.Replace(good, `"name"`, `"colour":"red","name"`, 1), "colour"},
		{"default\x00s", strings.Replace(good, `1`, `0`, 1), "version"},
		{"default\x00s", strings.Replace(good, `1`, `99`, 1), "newer than the store"},
		{"default\x00s", strings.Replace(good, "Secret", "Mesh", 1), "does not hold a Secret"},
		{"default\x00s", `{"version":1,"resource":null}`, "does not hold a Secret"},
		{"default\x00s", `{"version":1}`, `that of Secret ""`},
		{"other\x00s", good, "mesh \"default\""},
	} {
		path := filepath.Join(t.TempDir(), "store.db")
		s := openFile(t, path)
		put(t, s, proxy(1, "1"))
		closeStore(t, s)
		edit(t, path, func(tx *bbolt.Tx) error {
			b, err := tx.Bucket([]byte("koguma/1")).CreateBucketIfNotExists([]byte("Secret"))
			if err != nil {
				return err
			}
			return b.Put([]byte(tt.key), []byte(tt.record))
		})
		mesh, _, _ := strings.Cut(tt.key, "\x00")
		refused(t, path, `Secret "s" of mesh "`+mesh+`": `, tt.want)
	}
}

func TestFileOfAnotherFormatIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	closeStore(t, openFile(t, path))
	edit(t, path, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("koguma/2"))
		return err
	})
	refused(t, path, "koguma/2", "cannot read it")

	path = filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	put(t, s, proxy(1, "1"))
	closeStore(t, s)
	edit(t, path, func(tx *bbolt.Tx) error {
		b, err := tx.Bucket([]byte("koguma/1")).CreateBucket([]byte("Trinket"))
		if err != nil {
			return err
		}
		return b.Put([]byte("\x00x"), []byte(`{}`))
	})
	refused(t, path, `Trinket "x"`)
}

// A file that was cut short is refused even if nothing that was cut off is in use.
func TestCutFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	for i := range 60 {
		put(t, s, proxy(i, "1"))
	}
	var ops []store.Op
	for i := range 60 {
		ops = append(ops, store.Op{Delete: proxy(i, "").Key(), Expect: store.Any})
	}
	if err := s.Write(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	var used int64
	edit(t, path, func(tx *bbolt.Tx) error { used = tx.Size(); return nil })
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := used - 1; size > 0; size -= 1024 {
		refused(t, newFile(t, sound[:size]), "move it away")
	}
}

// Resources out of order would be there and not be found.
func TestDisorderIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	put(t, s, proxy(1, "1"), proxy(2, "1"))
	closeStore(t, s)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer("proxy-00001", "proxy-00002", "proxy-00002", "proxy-00001").Replace(string(data))
	refused(t, newFile(t, []byte(swapped)), `Dataplane "proxy-00001" of mesh "default": `, "out of order")
}

// Whatever is done to the bytes of the file, it is refused with an error, or opened and whole: it never ends the
// process, and no resource is one that was never written.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := openFile(t, path)
	for i := range 60 {
		put(t, s, proxy(i, "1"))
	}
	closeStore(t, s)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	refused(t, newFile(t, []byte("type: Mesh\nname: default\n")), "move it away")
	refused(t, newFile(t, make([]byte, len(sound))), "invalid database", "move it away")
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		data := bytes.Clone(sound)
		at := random.IntN(len(data))
		for i := at; i < min(at+1+random.IntN(64), len(data)); i++ {
			data[i] = byte(random.Uint32())
		}
		s, err := store.OpenFile(newFile(t, data))
		if err != nil {
			continue
		}
		for _, r := range list(t, s, policy.TypeDataplane) {
			if !strings.HasPrefix(r.Metadata().Name, "proxy-") {
				t.Errorf("a resource that was never written: %s", r.Metadata().Key())
			}
		}
		_, _ = store.Put(t.Context(), s, proxy(1, "2")) // may fail, but does come back
		s.Close()
	}
}
