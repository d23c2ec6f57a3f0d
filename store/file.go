package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"koguma/mistake"
	"koguma/policy"
)

// The file has one bucket, named for the format of what is in it: in there, one bucket per type, with a record per
// resource. Its sequence is the newest version there is or was.
const format = "koguma/1"

// lockWait is how long OpenFile waits for another process to let go of the file, such as one that is being restarted.
const lockWait = time.Second

// file is a core whose commits last.
type file struct {
	*core
	path string
	db   *bbolt.DB

	// doubt is why nobody knows any more what the file holds, so that nothing may be built on it. It belongs to who
	// has the turn.
	doubt error
}

// OpenFile returns the store that is kept in the file at path, and makes file and folder, for this user only, if they
// do not exist. The error is an ErrInUse if another process has the file open; a file that holds anything that cannot
// be read is not opened at all.
//
// A Write returns when its changes are on the disk. One that the disk refuses, being full, leaves the store as it was.
func OpenFile(path string) (Store, error) { return OpenSealedFile(path, nil) }

// OpenSealedFile is [OpenFile] for a file in which secrets are sealed with keys. Those that are there in clear are read as well.
// The error is an ErrSealed if something is sealed that keys do not open.
func OpenSealedFile(path string, keys *Keys) (Store, error) {
	f, err := openFile(path, keys)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func openFile(path string, keys *Keys) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	f := &file{core: newCore(), path: path}
	f.keep, f.keys = f.commit, keys
	err := guard(f.open)
	if errors.Is(err, bolterrors.ErrTimeout) {
		err := fmt.Errorf("store %s is %w: another kuma-cp has it open; stop that one, or give this one a work "+
			"directory of its own (KUMA_GENERAL_WORK_DIR)", path, ErrInUse)
		other := mistake.Word(filepath.Dir(path) + "-2")
		return nil, mistake.New(mistake.StoreInUse, err, mistake.WhoHas(path), "KUMA_GENERAL_WORK_DIR="+other+" kuma-cp run")
	}
	if err != nil {
		if f.db != nil {
			f.db.Close()
		}
		var pathErr *fs.PathError
		if !errors.As(err, &pathErr) && !errors.Is(err, ErrSealed) {
			err = fmt.Errorf("%w; put a sound copy of the file in its place, or move it away to begin with nothing", err)
		}
		return nil, fmt.Errorf("store %s cannot be opened: %w", path, err)
	}
	return f, nil
}

// open locks the file, makes sure that only this user can read it, and loads it.
func (f *file) open() error {
	_, statErr := os.Stat(f.path)
	var locked *os.File
	options := boltOptions()
	options.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		locked, err = os.OpenFile(path, flag, mode)
		return locked, err
	}
	db, err := bbolt.Open(f.path, 0o600, options)
	if err != nil {
		return err
	}
	f.db = db
	if err := f.inPlace(locked); err != nil {
		return err
	}
	if err := os.Chmod(f.path, 0o600); err != nil { // it may have been put there by hand
		return err
	}
	if errors.Is(statErr, os.ErrNotExist) {
		if err := syncDir(filepath.Dir(f.path)); err != nil {
			return err
		}
	}
	if err := f.init(); err != nil {
		return err
	}
	return db.View(f.load)
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

// inPlace makes sure that the file that is locked is the one at the path: who had it before may have put another there.
func (f *file) inPlace(locked *os.File) error {
	ours, err := locked.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.path)
	if err == nil && !os.SameFile(ours, there) {
		err = &fs.PathError{Op: "lock", Path: f.path, Err: errors.New("it was replaced meanwhile; start again")}
	}
	return err
}

// init makes a new file ours, and leaves every other alone.
func (f *file) init() error {
	var buckets []string
	err := f.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			buckets = append(buckets, string(name))
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case len(buckets) == 0:
		return f.db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte(format))
			return err
		})
	case len(buckets) > 1 || buckets[0] != format:
		return fmt.Errorf("it holds %q, and not only %q: this version of kuma-cp cannot read it", buckets, format)
	}
	return nil
}

// load reads everything in the file.
func (f *file) load(tx *bbolt.Tx) error {
	if info, err := os.Stat(f.path); err != nil {
		return err
	} else if info.Size() < tx.Size() {
		return fmt.Errorf("the file is damaged: of its %d bytes, %d are left", tx.Size(), info.Size())
	}
	root := tx.Bucket([]byte(format))
	f.version = root.Sequence()
	return root.ForEach(func(name, value []byte) error {
		if value != nil {
			return fmt.Errorf("it holds a record of no type, %q", name)
		}
		t := policy.Type(name)
		return root.Bucket(name).ForEach(func(k, data []byte) error {
			if err := f.loadRecord(t, k, data); err != nil {
				mesh, name, _ := strings.Cut(string(k), "\x00")
				return fmt.Errorf("%s: %w", policy.Key{Type: t, Mesh: mesh, Name: name}, err)
			}
			return nil
		})
	})
}

// loadRecord adds the resource that is kept under k to those of its type, of which it has to be the last so far.
func (f *file) loadRecord(t policy.Type, k, data []byte) error {
	r, err := unseal(t, data, f.keys)
	if err != nil {
		return err
	}
	all, m := f.resources[t], r.Metadata()
	switch {
	case !bytes.Equal(k, recordKey(m.Key())):
		return fmt.Errorf("the record under this name is that of %s", m.Key())
	case m.Version > f.version:
		return fmt.Errorf("version %d is newer than the store itself, which is at %d", m.Version, f.version)
	case len(all) > 0 && compareKey(all[len(all)-1], m.Key()) >= 0:
		return errors.New("the record is out of order")
	}
	f.resources[t] = append(all, r)
	return nil
}

// commit writes changes to the disk.
func (f *file) commit(version uint64, changes []change) error {
	if f.doubt != nil {
		return f.doubt
	}
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error { return putAll(tx, version, changes) })
	})
	if err != nil {
		return f.failed(err)
	}
	return nil
}

// failed is what a commit that failed with err returns. If the file is not as it was before, that is where it ends.
func (f *file) failed(err error) error {
	if kept, seqErr := f.sequence(); seqErr == nil && kept == f.version {
		return fmt.Errorf("store %s: nothing was written: %w", f.path, err)
	}
	f.doubt = fmt.Errorf("store %s: restart kuma-cp: a write failed, it is not known what the file holds, "+
		"and no other write is taken: %w", f.path, err)
	return f.doubt
}

// sequence is the newest version that the file knows.
func (f *file) sequence() (version uint64, err error) {
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			version = tx.Bucket([]byte(format)).Sequence()
			return nil
		})
	})
	return version, err
}

// Close implements [Store].
func (f *file) Close() error {
	return errors.Join(f.core.Close(), f.db.Close())
}

// putAll makes changes in tx.
func putAll(tx *bbolt.Tx, version uint64, changes []change) error {
	root := tx.Bucket([]byte(format))
	for _, ch := range changes {
		bucket, err := root.CreateBucketIfNotExists([]byte(ch.key.Type))
		if err != nil {
			return err
		}
		k := recordKey(ch.key)
		if ch.resource == nil {
			err = bucket.Delete(k)
		} else {
			err = bucket.Put(k, ch.record)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", ch.key, err)
		}
	}
	return root.SetSequence(version)
}

// guard calls f and makes an error of what bbolt does with a file that is damaged: it panics, or reads through its map
// of the file where there is none.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return f()
}

// syncDir makes a new file in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
