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

// HoldCommits lets writes wait until release is called, and waiting tells how many do.
func HoldCommits(s Store) (release func(), waiting func() int) {
	c := s.(*file).core
	c.turn <- struct{}{}
	return func() { <-c.turn }, func() int {
		c.queueMu.Lock()
		defer c.queueMu.Unlock()
		return len(c.queue)
	}
}
