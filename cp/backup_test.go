package cp_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

// secrets writes secrets of meshes, such as "a/signing 1" with this data; nil deletes one.
func secrets(t *testing.T, cfg settings.Config, data map[policy.Key]string) {
	t.Helper()
	s, err := store.OpenFile(cfg.Store.File.Path)
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range data {
		if text == "" {
			err = store.Delete(t.Context(), s, key)
		} else {
			meta := policy.Meta{Type: key.Type, Mesh: key.Mesh, Name: key.Name}
			_, err = store.Put(t.Context(), s, &policy.Secret{Meta: meta, Data: policy.Bytes(text)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who restores is told which tokens become valid again, as far as that can be known.
func TestRestoreTellsWhatIsValidAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := settings.Default()
	cfg.Store.File.Path = filepath.Join(dir, "koguma.db")
	file := filepath.Join(dir, "backup")
	key := func(mesh, serial string) policy.Key {
		return policy.Key{Type: policy.TypeSecret, Mesh: mesh, Name: policy.SigningKeyPrefix(mesh) + serial}
	}
	revoked := func(mesh string) policy.Key {
		return policy.Key{Type: policy.TypeSecret, Mesh: mesh, Name: policy.RevocationsName(mesh)}
	}
	secrets(t, cfg, map[policy.Key]string{
		key("a", "1"): "key", key("a", "2"): "key", revoked("a"): "id-1, id-2",
		key("b", "1"): "key", key("c", "1"): "key",
		{Type: policy.TypeSecret, Mesh: "a", Name: "something-else"}: "data",
	})
	made, err := cp.Backup(t.Context(), cfg, file)
	if err != nil {
		t.Fatal(err)
	}
	tokens := []cp.MeshTokens{
		{Mesh: "a", SigningKeys: []string{key("a", "1").Name, key("a", "2").Name}, Revoked: []string{"id-1", "id-2"}},
		{Mesh: "b", SigningKeys: []string{key("b", "1").Name}},
		{Mesh: "c", SigningKeys: []string{key("c", "1").Name}},
	}
	want := cp.BackupReport{Store: cfg.Store.File.Path, Time: made.Time, Resources: 6, Tokens: tokens}
	if d := cmp.Diff(want, made); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	secrets(t, cfg, map[policy.Key]string{key("a", "1"): "", key("a", "3"): "key", revoked("a"): "id-2,id-3", revoked("b"): "id-4"})
	got, err := cp.Restore(t.Context(), cfg, file, true)
	if err != nil {
		t.Fatal(err)
	}
	readmitted := []cp.MeshTokens{
		{Mesh: "a", SigningKeys: []string{key("a", "1").Name}, Revoked: []string{"id-3"}},
		{Mesh: "b", SigningKeys: []string{}, Revoked: []string{"id-4"}},
	}
	if d := cmp.Diff(cp.RestoreReport{BackupReport: want, Readmitted: readmitted}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	cfg.Store.File.Path = filepath.Join(dir, "new.db")
	if got, err = cp.Restore(t.Context(), cfg, file, false); err != nil || got.Readmitted != nil {
		t.Errorf("into a new store: got %+v, error %v", got, err)
	}
}

// A backup that cannot be written leaves nothing behind, and one that cannot be restored changes nothing.
func TestBackupThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := settings.Default()
	cfg.Store.File.Path = filepath.Join(dir, "koguma.db")
	file := filepath.Join(dir, "backup")
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	secrets(t, cfg, nil)
	_, err := cp.Backup(t.Context(), cfg, file)
	refused(err, "there is nothing in the store "+cfg.Store.File.Path)
	name := policy.Key{Type: policy.TypeSecret, Mesh: "a", Name: "s"}
	secrets(t, cfg, map[policy.Key]string{name: "data"})
	if _, err := cp.Backup(t.Context(), cfg, filepath.Join(dir, "none", "backup")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: got error %v", err)
	}
	if _, err := cp.Backup(t.Context(), cfg, file); err != nil {
		t.Fatal(err)
	}
	secrets(t, cfg, map[policy.Key]string{name: "newer"})
	before, err := os.ReadFile(cfg.Store.File.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".bad", []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = cp.Restore(t.Context(), cfg, file+".bad", true)
	refused(err, "is no backup")
	_, err = cp.Restore(t.Context(), cfg, file, false)
	refused(err, "--replace")
	_, err = cp.Restore(t.Context(), cfg, file+".none", true)
	refused(err, "no such file")
	if after, err := os.ReadFile(cfg.Store.File.Path); err != nil || string(after) != string(before) {
		t.Errorf("the store has changed, error %v", err)
	}
}
