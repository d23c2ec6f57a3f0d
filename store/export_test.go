package store

import (
	"errors"

	"go.etcd.io/bbolt"
)

// LoseNextCommit makes the next commit of a file reach the disk and fail nevertheless.
func LoseNextCommit(s Store) {
	f := s.(*file)
	f.keep = func(version uint64, changes []change) error {
		f.keep = f.commit
		if err := f.db.Update(func(tx *bbolt.Tx) error { return putAll(tx, version, changes) }); err != nil {
			return err
		}
		return f.failed(errors.New("input/output error"))
	}
}
