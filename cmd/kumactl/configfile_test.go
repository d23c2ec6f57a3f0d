package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// configure runs kumactl config with a configuration file of its own.
func configure(t *testing.T, file string, args ...string) {
	t.Helper()
	var out, errs strings.Builder
	args = append([]string{"--config-file", file, "config"}, args...)
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Errorf("%v: exit code %d, %s", args, code, errs.String())
	}
}

// Whoever changes the configuration at the same time as others loses nothing, and no reader ever sees half of it.
func TestConcurrentChangesOfConfig(t *testing.T) {
	t.Parallel()
	const writers, each = 6, 2
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte("currentContext: \"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				configure(t, file, "control-planes", "add", "--name", fmt.Sprintf("cp-%d-%d", w, i), "--address", "http://127.0.0.1:1", "--skip-check")
				configure(t, file, "view")
			}
			configure(t, file, "control-planes", "remove", "--name", fmt.Sprintf("cp-%d-0", w))
		})
	}
	all.Wait()
	cfg, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(cfg.ControlPlanes); n != writers*(each-1) || len(cfg.Contexts) != n || cfg.active() == nil {
		t.Errorf("%d control planes and %d contexts, %q active; want %d", n, len(cfg.Contexts), cfg.CurrentContext, writers*(each-1))
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v; want the file and its lock", left, err)
	}
}

// A kumactl that hangs keeps nobody else for ever.
func TestLockIsHeld(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path, 0); err == nil || !strings.Contains(err.Error(), "another kumactl") {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	unlock, err = lockFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
