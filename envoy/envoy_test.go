package envoy_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/envoy"
)

// A name is looked for in PATH, in the working directory and beside the program; a path is taken as it is.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	inPath := program(t, filepath.Join(dir, "path", "envoy"), "")
	here := program(t, filepath.Join(dir, "here", "other"), "")
	program(t, filepath.Join(dir, "here", "envoy"), "")
	t.Setenv("PATH", filepath.Dir(inPath))
	t.Chdir(filepath.Dir(here))

	for name, want := range map[string]string{
		"": inPath, "envoy": inPath, "other": here, "./other": here, inPath: inPath, "../path/envoy": inPath,
	} {
		if got, err := envoy.Find(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := envoy.Find("absent"); err == nil || !strings.Contains(err.Error(), `no "absent" in PATH`) {
		t.Errorf("absent: got %q, %v", got, err)
	}
	if got, err := envoy.Find("./absent"); err == nil {
		t.Errorf("./absent: got %q", got)
	}
}

// What stands in PATH before the working directory wins, and beside the executable is the last place.
func TestFindBesideTheExecutable(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	t.Chdir(t.TempDir())
	if got, err := envoy.Find(filepath.Base(self)); err != nil || got != self {
		t.Errorf("got %q, %v; want %q", got, err, self)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	version, build, err := envoy.Version(t.Context(), binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if version != "1.40.0" || !strings.HasSuffix(build, "/1.40.0/Clean/RELEASE/BoringSSL") {
		t.Errorf("got %q, %q", version, build)
	}
}

// What is not Envoy is not taken for one.
func TestVersionRefuses(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"nothing":    "",
		"other":      "nginx version: nginx/1.2.3",
		"four parts": "envoy  version: abc/1.40.0/Clean/RELEASE",
		"six parts":  "envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL/x",
		"two lines":  "envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL\nand more",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := program(t, filepath.Join(t.TempDir(), "envoy"), "printf '%s' '"+says+"'")
			if version, _, err := envoy.Version(t.Context(), fake); err == nil {
				t.Errorf("taken: %q", version)
			}
		})
	}
	fails := program(t, filepath.Join(t.TempDir(), "envoy"), "echo envoy  version: a/1/c/d/e; exit 3")
	if _, _, err := envoy.Version(t.Context(), fails); err == nil {
		t.Error("taken although it failed")
	}
}

// binary is the real Envoy.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("KOGUMA_ENVOY")
	if path == "" {
		path = "../.tools/envoy/bin/envoy"
	}
	found, err := envoy.Find(path)
	if err != nil {
		t.Fatalf("%v; run make tools", err)
	}
	return found
}

// program makes a shell script.
func program(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	// Written by a process of its own: a file that this one had open for writing could not be executed while another
	// test forks.
	cmd := exec.Command("/bin/sh", "-c", `cat >"$0" && chmod 700 "$0"`, path)
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + text + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// config is that of a real Envoy with nothing but an admin socket.
func config(t testing.TB) envoy.Config {
	t.Helper()
	// Not t.TempDir: its path is too long for a socket.
	dir, err := os.MkdirTemp("", "envoy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return configIn(dir, binary(t))
}

func configIn(dir, binary string) envoy.Config {
	socket := filepath.Join(dir, "admin.sock")
	return envoy.Config{
		Binary:      binary,
		Bootstrap:   fmt.Appendf(nil, `{"node": {"id": "n"}, "admin": {"address": {"pipe": {"path": %q, "mode": 384}}}}`, socket),
		Dir:         filepath.Join(dir, "run"),
		AdminSocket: socket,
		LogLevel:    "warning",
		Concurrency: 1,
		Stdout:      io.Discard,
	}
}

// start starts an Envoy that ends with the test.
func start(t testing.TB, cfg envoy.Config) *envoy.Process {
	t.Helper()
	p, err := envoy.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	return p
}

// ready waits until the Envoy at socket serves.
func ready(t testing.TB, socket string) {
	t.Helper()
	admin := envoy.Admin{Socket: socket}
	eventually(t, "ready", func() bool {
		ok, err := admin.Ready(t.Context())
		return ok && err == nil
	})
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in 10 s", what)
		}
	}
}

// wait waits for the end of p.
func wait(t *testing.T, p *envoy.Process) error {
	t.Helper()
	select {
	case <-p.Done():
		return p.Err()
	case <-time.After(10 * time.Second):
		t.Fatal("Envoy still runs after 10 s")
		return nil
	}
}

// runs says whether there is a process pid that is not just waiting to be collected.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// absent holds that nothing of an Envoy with cfg is left on disk.
func absent(t *testing.T, cfg envoy.Config) {
	t.Helper()
	for _, path := range []string{cfg.Dir, filepath.Join(cfg.Dir, "bootstrap.yaml"), cfg.AdminSocket} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left behind", path)
		}
	}
}
