package cp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

// BackupReport is what a backup holds.
type BackupReport struct {
	Store     string // which was read, or written
	Time      time.Time
	Resources int
	Sealed    bool // there are no secrets in clear in it
	Tokens    []MeshTokens
}

// RestoreReport is what a restore has changed.
type RestoreReport struct {
	BackupReport
	// Readmitted is what the store knew against tokens before and knows no more: signing keys that had been deleted and are
	// there again, and tokens that were revoked.
	Readmitted []MeshTokens
}

// MeshTokens is what a store knows of the data plane tokens of a mesh.
type MeshTokens struct {
	Mesh        string
	SigningKeys []string // the names of their secrets
	Revoked     []string // the ids of tokens
}

// Backup writes all that is in the store to a new file, which only this user can read. Secrets are in it as they are in the
// store: sealed if there is a key file, else in clear.
func Backup(ctx context.Context, cfg settings.Config, path string) (_ BackupReport, err error) {
	if cfg.Store.Type == settings.StoreFile {
		if _, err := os.Stat(cfg.Store.File.Path); err != nil {
			return BackupReport{}, fmt.Errorf("there is no store to back up: %w", err)
		}
	}
	keys, s, err := cfg.OpenOffline(ctx)
	if err != nil {
		return BackupReport{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b, err := store.NewBackup(ctx, s)
	if err != nil {
		return BackupReport{}, err
	}
	if len(b.Resources) == 0 {
		return BackupReport{}, fmt.Errorf("there is nothing in the store %s", cfg.StoreName())
	}
	data, err := b.Marshal(keys)
	if err != nil {
		return BackupReport{}, err
	}
	if err := writeNew(path, data); err != nil {
		return BackupReport{}, fmt.Errorf("backup: %w", err)
	}
	return report(&cfg, b, keys), nil
}

// Restore makes the store hold what is in a backup and nothing else. A store that holds something is only written to if that is
// to be replaced. Nothing changes unless everything in the backup can be read.
func Restore(ctx context.Context, cfg settings.Config, path string, replace bool) (_ RestoreReport, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return RestoreReport{}, fmt.Errorf("backup: %w", err)
	}
	keys, err := cfg.EncryptionKeys()
	if err != nil {
		return RestoreReport{}, err
	}
	b, err := store.ReadBackup(data, keys)
	if err != nil {
		return RestoreReport{}, fmt.Errorf("backup %s: %w", path, err)
	}
	_, s, err := cfg.OpenOffline(ctx)
	if err != nil {
		return RestoreReport{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	before, err := b.Restore(ctx, s, replace)
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		err = fmt.Errorf("%s: %w: with --replace all of that goes, and the backup takes its place", cfg.StoreName(), err)
	case errors.Is(err, store.ErrConflict):
		err = fmt.Errorf("%s: nothing was restored, because somebody else has changed something meanwhile; try again: %w", cfg.StoreName(), err)
	}
	if err != nil {
		return RestoreReport{}, err
	}
	return RestoreReport{report(&cfg, b, keys), readmitted(before, b)}, nil
}

func report(c *settings.Config, b *store.Backup, keys *store.Keys) BackupReport {
	return BackupReport{c.StoreName(), b.Time, len(b.Resources), keys != nil, meshTokens(b)}
}

// meshTokens is what b knows of tokens, in the order of the meshes.
func meshTokens(b *store.Backup) []MeshTokens {
	var all []MeshTokens
	of := func(mesh string) *MeshTokens {
		if n := len(all); n == 0 || all[n-1].Mesh != mesh {
			all = append(all, MeshTokens{Mesh: mesh})
		}
		return &all[len(all)-1]
	}
	for _, r := range b.Resources {
		s, ok := r.(*policy.Secret)
		if !ok {
			continue
		}
		if _, ok := registry.SigningKeySerial(s.Key()); ok {
			t := of(s.Mesh)
			t.SigningKeys = append(t.SigningKeys, s.Name)
		}
		if s.Name == policy.RevocationsName(s.Mesh) {
			t := of(s.Mesh)
			t.Revoked = slices.AppendSeq(t.Revoked, registry.RevokedIDs(s.Data))
		}
	}
	return all
}

// readmitted is what before knew against tokens and after does not, for the meshes that after has.
func readmitted(before, after *store.Backup) []MeshTokens {
	if len(before.Resources) == 0 {
		return nil // nothing is known of it
	}
	known := map[string]MeshTokens{}
	for _, t := range meshTokens(before) {
		known[t.Mesh] = t
	}
	var all []MeshTokens
	for _, t := range meshTokens(after) {
		was := known[t.Mesh]
		back := MeshTokens{t.Mesh, missing(t.SigningKeys, was.SigningKeys), missing(was.Revoked, t.Revoked)}
		if len(back.SigningKeys)+len(back.Revoked) > 0 {
			all = append(all, back)
		}
	}
	return all
}

// missing are those of list that others does not have.
func missing(list, others []string) []string {
	known := map[string]bool{}
	for _, s := range others {
		known[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return known[s] })
}

// writeNew makes a file that only this user can read, and returns when it is on the disk. One that exists stays as it is.
func writeNew(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and stays as it is; give --file another name", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
