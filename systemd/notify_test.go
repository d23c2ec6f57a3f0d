package systemd_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/systemd"
)

// The service manager hears what it is told, at a path or at an abstract address.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	for _, address := range []string{path, "@koguma-" + strings.ReplaceAll(path, "/", "-")} {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		t.Setenv("NOTIFY_SOCKET", address)
		for _, want := range []string{systemd.Ready, systemd.Stopping} {
			if err := systemd.Notify(want); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, err := conn.Read(b)
			if got := string(b[:n]); err != nil || got != want {
				t.Errorf("%s: %q, %v", address, got, err)
			}
		}
	}
}

// Where nobody wants to know, nobody is told; and who cannot be told is an error.
func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := systemd.Notify(systemd.Ready); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "absent"))
	if err := systemd.Notify(systemd.Ready); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("error %v", err)
	}
}
