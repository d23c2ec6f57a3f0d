package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is the longest path that the kernel takes for a socket.
const maxSocketPath = 107

// checkSocketPath is the absolute path of a socket that an operator named.
func checkSocketPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil && len(abs) > maxSocketPath {
		err = fmt.Errorf("%q has %d bytes; a socket's path has %d at most", abs, len(abs), maxSocketPath)
	}
	return abs, err
}

// listenAt opens a socket at a path that an operator named, which only our own user can open; remove takes it away
// again. A socket that is left of a process that has gone is replaced, and nothing else is.
func listenAt(path string) (l net.Listener, remove func(), err error) {
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		if _, missing := os.Stat(filepath.Dir(path)); missing != nil {
			err = fmt.Errorf("%w; make the directory first", missing)
		}
		return nil, nil, err
	}
	unix.SetUnlinkOnClose(false) // by then it may be somebody else's
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, nil, errors.Join(err, unix.Close())
	}
	ours, err := os.Lstat(path)
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close())
	}
	return unix, func() {
		if there, err := os.Lstat(path); err == nil && os.SameFile(ours, there) {
			_ = os.Remove(path)
		}
	}, nil
}

// removeStale removes a socket of ours that nobody answers at. Whatever else is at the path is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket; choose another path, or remove it", path)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is another user's; choose another path, or remove it", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("somebody answers at %s, another agent perhaps; choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
