package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"go.etcd.io/bbolt"

	"koguma/policy"
)

// RekeyFile seals every secret in the file at path with the first of keys, and returns how many were not. No resource changes by
// that, nor does its version. Then it writes the file anew, so that nothing is left in it of what it held before. Nobody else
// may have the file open, and keys must not be nil.
func RekeyFile(path string, keys *Keys) (n int, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	f, err := openFile(path, keys)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = guard(func() error {
		if err := f.db.Update(func(tx *bbolt.Tx) (err error) { n, err = f.rekey(tx); return err }); err != nil {
			return err
		}
		if err := f.compact(); err != nil {
			return fmt.Errorf("all secrets in it are sealed, and what was there before may be in it as well until this is done again: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("store %s: %w", path, err)
	}
	return n, nil
}

// rekey seals what is in the file, and returns how much of it was not as it is now.
func (f *file) rekey(tx *bbolt.Tx) (n int, err error) {
	root := tx.Bucket([]byte(format))
	for _, t := range secretTypes {
		for _, r := range f.resources[t] {
			key := r.Metadata().Key()
			again, changed, err := f.keys.reseal(t, root.Bucket([]byte(t)).Get(recordKey(key)))
			if err == nil && changed {
				n++
				err = root.Bucket([]byte(t)).Put(recordKey(key), again)
			}
			if err != nil {
				return 0, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return n, nil
}

// compact puts a new file with the same content in the place of the file, which stays locked until f is closed.
func (f *file) compact() (err error) {
	fresh := f.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one who did not come to an end
		return err
	}
	db, err := bbolt.Open(fresh, 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = bbolt.Compact(db, f.db, 0)
	if err = errors.Join(err, db.Close()); err == nil {
		err = os.Rename(fresh, f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return syncDir(filepath.Dir(f.path))
}

// RekeyPostgres seals every secret in a Postgres with the first of the keys in cfg, and returns how many were not. No resource
// changes by that, nor does its version. Others may have the store open: their writes wait meanwhile. There have to be keys.
func RekeyPostgres(ctx context.Context, cfg PostgresConfig) (n int, err error) {
	conn, err := cfg.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer hangUp(conn)
	if err := checkSchema(ctx, conn); err != nil {
		return 0, fmt.Errorf("postgres %s: %w", cfg.address(), err)
	}
	err = alone(ctx, conn, func(tx pgx.Tx, _ mark) error {
		var b pgx.Batch
		if err := queueRekey(ctx, tx, cfg.Keys, &b); err != nil {
			return err
		}
		n = b.Len()
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
	if err != nil {
		return 0, fmt.Errorf("postgres %s: all is as it was: %w", cfg.address(), err)
	}
	return n, nil
}

// queueRekey queues a statement for each row that is to be sealed.
func queueRekey(ctx context.Context, tx pgx.Tx, keys *Keys, b *pgx.Batch) error {
	rows, err := tx.Query(ctx, "SELECT type, mesh, name, spec FROM resources WHERE type = ANY($1) AND spec IS NOT NULL", secretTypes[:])
	if err != nil {
		return err
	}
	var key policy.Key
	var spec []byte
	_, err = pgx.ForEachRow(rows, []any{&key.Type, &key.Mesh, &key.Name, &spec}, func() error {
		again, changed, err := keys.reseal(key.Type, spec)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if changed {
			b.Queue("UPDATE resources SET spec = $4 WHERE type = $1 AND mesh = $2 AND name = $3", key.Type, key.Mesh, key.Name, again)
		}
		return nil
	})
	return err
}
