package agent

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// What an agent left that was killed goes; what one that lives has, and what is none of ours, stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	parent, err := os.MkdirTemp("", "sweep") // short, as the path of a socket has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	listen := func(dir, socket string) net.Listener {
		t.Helper()
		if err := os.Mkdir(filepath.Join(parent, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(parent, dir, socket))
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		return l
	}
	listen("kuma-dp-dead", adsSocket).Close()
	listen("kuma-dp-live", adsSocket)
	listen("kuma-dp-other", "other.sock").Close()
	listen("other", adsSocket).Close()
	sweep(parent)
	for dir, want := range map[string]bool{"kuma-dp-dead": false, "kuma-dp-live": true, "kuma-dp-other": true, "other": true} {
		if _, err := os.Stat(filepath.Join(parent, dir)); (err == nil) != want {
			t.Errorf("%s: %v, want it to be there: %v", dir, err, want)
		}
	}
}
