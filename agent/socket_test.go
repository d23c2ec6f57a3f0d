package agent_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"koguma/agent"
)

// The socket is for our own user, and takes the place of one that was left behind, but of nothing else.
func TestWorkloadAPISocket(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	answering, err := net.Listen("unix", filepath.Join(dir, "answering"))
	if err != nil {
		t.Fatal(err)
	}
	defer answering.Close()
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "stale"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "stale"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cp := startCP(t)
	for name, want := range map[string]string{
		"answering":              "somebody answers",
		"file":                   "is no socket",
		"link":                   "is no socket",
		".":                      "is no socket",
		"none/api.sock":          "make the directory first",
		strings.Repeat("x", 200): "at most",
		"stale":                  "",
		"new":                    "",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, cp)
			cfg.WorkloadAPISocket = filepath.Join(dir, name)
			if want == "" {
				r := start(t, cfg)
				eventually(t, func() error {
					info, err := os.Lstat(cfg.WorkloadAPISocket)
					if err != nil {
						return err
					}
					if info.Mode() != os.ModeSocket|0o600 {
						return fmt.Errorf("mode %v", info.Mode())
					}
					return nil
				})
				workloadClient(t, cfg.WorkloadAPISocket)
				r.cancel()
				if err := r.wait(); err != nil {
					t.Error(err)
				}
				if _, err := os.Lstat(cfg.WorkloadAPISocket); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the socket is still there: %v", err)
				}
				return
			}
			cfg.WorkDir = t.TempDir()
			a, err := agent.New(cfg)
			if err == nil {
				err = a.Run(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--workload-api-socket") {
				t.Errorf("error %v, want one that says %q", err, want)
			}
		})
	}
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "precious" {
		t.Errorf("the file was touched: %q %v", got, err)
	}
}
