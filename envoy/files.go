package envoy

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// files are what an Envoy has on disk while it runs.
type files struct {
	bootstrap string
	socket    string
	dir       string // to be removed, "" when it was there before
}

// place writes the files that Envoy needs, and removes what a killed predecessor left.
func place(cfg Config) (*files, error) {
	if err := clearSocket(cfg.AdminSocket); err != nil {
		return nil, err
	}
	f := &files{bootstrap: filepath.Join(cfg.Dir, "bootstrap.yaml"), socket: cfg.AdminSocket}
	switch err := os.Mkdir(cfg.Dir, 0o700); {
	case err == nil:
		f.dir = cfg.Dir
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	if err := writeNew(f.bootstrap, cfg.Bootstrap); err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

// remove takes away what place wrote and the socket that Envoy made. There is nobody who could do more about a failure
// than to find the file; it has no secret of the agent's.
func (f *files) remove() {
	_ = os.Remove(f.bootstrap)
	_ = os.Remove(f.socket)
	if f.dir != "" {
		_ = os.Remove(f.dir) // only if it is empty
	}
}

// writeNew writes a file that only the owner can read, in the place of one that may be there, and never through a link.
func writeNew(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// clearSocket removes a socket that nobody listens to. An Envoy whose parent was killed is killed a moment later, so one
// that answers gets that moment.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way of the admin socket; it is a %v", path, info.Mode().Type())
	}
	for deadline := time.Now().Add(time.Second); answers(path); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("another Envoy answers at %s; stop it, or choose another work directory", path)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
