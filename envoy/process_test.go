package envoy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"koguma/envoy"
)

// An Envoy has what it was given and nothing of the agent's token; and when it was stopped, nothing is left.
func TestStartAndStop(t *testing.T) {
	t.Setenv("KUMA_DATAPLANE_RUNTIME_TOKEN", "canary")
	t.Setenv("KOGUMA_TEST_KEPT", "kept")
	cfg := config(t)
	cfg.Concurrency = 3
	cfg.DrainTime = 1500 * time.Millisecond
	cfg.ComponentLogLevel = "upstream:error"
	p := start(t, cfg)
	ready(t, cfg.AdminSocket)

	env := proc(t, p.PID(), "environ")
	if strings.Contains(env, "canary") || strings.Contains(env, "KUMA_") || !strings.Contains(env, "KOGUMA_TEST_KEPT=kept") {
		t.Errorf("Envoy's environment: %q", env)
	}
	args := proc(t, p.PID(), "cmdline")
	want := fmt.Sprintf("%s --config-path %s/bootstrap.yaml --drain-time-s 2 --drain-strategy immediate --disable-hot-restart "+
		"--log-level warning --component-log-level upstream:error --concurrency 3 ", cfg.Binary, cfg.Dir)
	if args != want {
		t.Errorf("arguments: got %q, want %q", args, want)
	}
	for path, want := range map[string]fs.FileMode{
		cfg.Dir: fs.ModeDir | 0o700, cfg.Dir + "/bootstrap.yaml": 0o600, cfg.AdminSocket: fs.ModeSocket | 0o600,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if group, err := unix.Getpgid(p.PID()); err != nil || group != p.PID() {
		t.Errorf("process group %d, %v; want its own, %d", group, err, p.PID())
	}
	if err := p.Err(); err != nil {
		t.Errorf("while it runs: %v", err)
	}

	p.Stop(5 * time.Second)
	p.Stop(5 * time.Second)
	if err := wait(t, p); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	if runs(p.PID()) {
		t.Error("still runs after Stop")
	}
	absent(t, cfg)
}

// A directory of somebody else's is left as it was.
func TestDirThatWasThereStays(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Dir = filepath.Dir(cfg.AdminSocket)
	start(t, cfg).Stop(5 * time.Second)
	left, err := os.ReadDir(cfg.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("got %v, %v; want an empty directory", left, err)
	}
}

// An Envoy that does not listen to SIGTERM is killed after the grace.
func TestStopKills(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	p := start(t, cfg)
	ready(t, cfg.AdminSocket)
	if err := unix.Kill(p.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Stop(50 * time.Millisecond)
	if err := wait(t, p); err != nil || runs(p.PID()) {
		t.Errorf("got %v, still running: %t", err, runs(p.PID()))
	}
	absent(t, cfg)
}

// The end that nobody asked for is an error with the state of the process.
func TestKilledEnvoy(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	p := start(t, cfg)
	ready(t, cfg.AdminSocket)
	if err := unix.Kill(p.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var ended *envoy.ExitError
	if err := wait(t, p); !errors.As(err, &ended) || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("got %v", err)
	}
	if status := ended.State.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
		t.Errorf("got %v", status)
	}
	absent(t, cfg)
}

// A bootstrap that Envoy refuses is reported with Envoy's reason, in bounded size.
func TestBadBootstrap(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ bootstrap, want string }{
		"unknown field": {`{"nonsense": 1}`, "no such field: 'nonsense'"},
		"not JSON":      {`{"node":`, "end of map flow not found"},
		"huge":          {`{"node": {"id": "` + strings.Repeat("x", 1<<20) + `"`, "end of map flow not found"},
		"no socket":     {`{"admin": {"address": {"pipe": {"path": "/nonexistent/a.sock"}}}}`, "cannot bind '/nonexistent/a.sock'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			cfg.Bootstrap = []byte(test.bootstrap)
			cfg.LogLevel = "" // the info lines must not push the reason out
			var stderr bytes.Buffer
			cfg.Stderr = &stderr
			err := wait(t, start(t, cfg))
			var ended *envoy.ExitError
			if !errors.As(err, &ended) || ended.State.ExitCode() != 1 || !strings.Contains(squeeze(err.Error()), test.want) {
				t.Errorf("got %v", err)
			}
			if len(err.Error()) > 5000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			if !strings.Contains(squeeze(stderr.String()), test.want) {
				t.Error("Stderr did not get the reason")
			}
			absent(t, cfg)
		})
	}
}

// What Start refuses, it refuses by name, and leaves nothing behind.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*envoy.Config)
		want   string
	}{
		"no binary":      {func(c *envoy.Config) { c.Binary = "" }, "no binary"},
		"no bootstrap":   {func(c *envoy.Config) { c.Bootstrap = nil }, "no bootstrap"},
		"no directory":   {func(c *envoy.Config) { c.Dir = "" }, "no directory"},
		"no socket":      {func(c *envoy.Config) { c.AdminSocket = "" }, "no admin socket"},
		"concurrency":    {func(c *envoy.Config) { c.Concurrency = -1 }, "concurrency -1"},
		"drain time":     {func(c *envoy.Config) { c.DrainTime = -1 }, "drain time -1ns"},
		"grace":          {func(c *envoy.Config) { c.Grace = -1 }, "grace -1ns"},
		"absent binary":  {func(c *envoy.Config) { c.Binary = "/nonexistent" }, "no such file"},
		"absent parent":  {func(c *envoy.Config) { c.Dir = "/nonexistent/a/b" }, "no such file"},
		"file in socket": {func(c *envoy.Config) { c.AdminSocket = c.Binary }, "in the way of the admin socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			dir := cfg.Dir
			test.change(&cfg)
			p, err := envoy.Start(cfg)
			if err == nil {
				p.Stop(0)
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q", err, test.want)
			}
			if _, err := os.Lstat(dir); err == nil {
				t.Errorf("%s is left behind", dir)
			}
		})
	}
}

// The socket of one that was killed is no hindrance; the socket of one that lives is not taken away from it.
func TestSocketThatIsThere(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.AdminSocket})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if _, err := envoy.Start(cfg); err == nil || !strings.Contains(err.Error(), "another Envoy answers") {
		t.Errorf("a live socket: got %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(cfg.AdminSocket); err != nil {
		t.Fatalf("taken away: %v", err)
	}
	start(t, cfg)
	ready(t, cfg.AdminSocket)
}

// A bootstrap that is there already, be it a link to somewhere else, is replaced and not written through.
func TestLinkInPlaceOfBootstrap(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Dir = filepath.Dir(cfg.AdminSocket)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(cfg.Dir, "bootstrap.yaml")); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	ready(t, cfg.AdminSocket)
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("got %q, %v", text, err)
	}
}

// Envoy does not end with the thread that Start was called on.
func TestEnvoyOutlivesTheCallersThread(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var p *envoy.Process
	var thread int
	onDyingThread(func() {
		thread = unix.Gettid()
		var err error
		if p, err = envoy.Start(cfg); err != nil {
			t.Error(err)
		}
	})
	if p == nil {
		return
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	task := fmt.Sprintf("/proc/self/task/%d", thread)
	eventually(t, "without that thread", func() bool {
		_, err := os.Lstat(task)
		return err != nil
	})
	ready(t, cfg.AdminSocket)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// onDyingThread runs f on a thread that ends afterwards.
func onDyingThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			onDyingThread(f) // the main thread never ends; the next one is another, while this one is held
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// squeeze makes one blank of several: Envoy's protobuf library varies how many it writes, so that nobody relies on them.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// proc is a file of /proc/PID with its NULs as blanks.
func proc(t *testing.T, pid int, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\x00", " ")
}
