package cp

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"koguma/policy"
)

// presence is a file in the work directory that a control plane keeps locked for as long as its process lives. Whoever can lock it
// knows that the process has ended, in whatever way, and need not wait for its lease to lapse.
//
// The lock tells that of processes of this machine only, and where the directory may be that of others too, not even that: so
// what was not written since this machine was started tells nothing.
type presence struct {
	file *os.File
	path string
}

const (
	presences = "control-planes" // the folder in the work directory
	bootID    = "/proc/sys/kernel/random/boot_id"
)

// enter makes the presence of the control plane with that instance id.
func enter(dir, id string) (*presence, error) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, presences)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".new-*") // locked before anybody looks at it
	if err != nil {
		return nil, err
	}
	p := &presence{f, filepath.Join(dir, id)}
	_, err = f.Write(boot)
	if err == nil {
		err = lock(f)
	}
	if err == nil {
		err = os.Rename(f.Name(), p.path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return p, nil
}

func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// leave ends it. One that stays, because there still is a lease, is for the next control plane of this machine to find.
func (p *presence) leave(stays bool) error {
	if stays {
		return p.file.Close()
	}
	return errors.Join(os.Remove(p.path), p.file.Close())
}

// bury calls gone with the instance id of each control plane that has ended and is still present, which it is no more if gone
// returns nil.
func (p *presence) bury(gone func(id string) error) error {
	all, err := os.ReadDir(filepath.Dir(p.path))
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range all {
		path := filepath.Join(filepath.Dir(p.path), e.Name())
		if path != p.path && e.Type().IsRegular() && policy.ValidName(e.Name()) == nil {
			failed = append(failed, buryOne(path, gone))
		}
	}
	return errors.Join(failed...)
}

func buryOne(path string, gone func(id string) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // another one was quicker
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lock(f); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil // it lives
	} else if err != nil {
		return err
	}
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return err
	}
	wrote, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(wrote)) == strings.TrimSpace(string(boot)) {
		if err := gone(filepath.Base(path)); err != nil {
			return err
		}
	}
	return os.Remove(path)
}
