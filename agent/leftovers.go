package agent

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// sweep removes from parent, which is that of temporary files if empty, the directories of agents that were killed and so
// could not do it themselves: those with a socket that nobody listens at. An agent never listens again where one did, so
// that none is taken for dead that lives. What cannot be removed stays; it is in nobody's way.
func sweep(parent string) {
	if parent == "" {
		parent = os.TempDir()
	}
	sockets, _ := filepath.Glob(filepath.Join(parent, dirPattern, adsSocket))
	for _, socket := range sockets {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.RemoveAll(filepath.Dir(socket))
		}
	}
}
