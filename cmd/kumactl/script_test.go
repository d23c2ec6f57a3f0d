package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/cp"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kumactl": main})
}

// TestScript runs testdata/script. Each script has a home directory of its own; beside the verbs of testscript it has
//
//	kuma-cp         start a control plane, to which kumactl then speaks by default; its URL is in $CP
//	mode 0600 FILE  expect the permissions of a file
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every kumactl that is built with -race lingers for a second
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kuma-cp": cmdKumaCP,
			"mode":    cmdMode,
		},
	})
}

// cmdKumaCP starts a control plane that ends with the script.
func cmdKumaCP(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 {
		ts.Fatalf("usage: kuma-cp")
	}
	address := startCP(ts)
	ts.Setenv("CP", address)
	dir := filepath.Join(ts.Getenv("HOME"), ".kumactl")
	ts.Check(os.MkdirAll(dir, 0o755))
	cfg := fmt.Sprintf("controlPlanes: [{name: local, coordinates: {apiServer: {url: %q}}}]\n"+
		"contexts: [{name: local, controlPlane: local}]\ncurrentContext: local\n", address)
	ts.Check(os.WriteFile(filepath.Join(dir, "config"), []byte(cfg), 0o600))
}

// startCP starts a control plane in this process, on ports that the kernel chooses.
func startCP(ts *testscript.TestScript) (address string) {
	cfg := cp.DefaultConfig()
	cfg.Store.Type = cp.StoreMemory
	cfg.APIServer.HTTP.Port, cfg.DPServer.Port, cfg.Diagnostics.ServerPort, cfg.AdminServer.Local.Port = 0, 0, 0, 0
	cfg.DPServer.Interface = "127.0.0.1"
	cfg.Log = slog.New(slog.DiscardHandler)
	plane, err := cp.New(cfg)
	ts.Check(err)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := plane.Run(ctx)
		cancel(err) // so that nobody waits for where it listens
		ended <- err
	}()
	ts.Defer(func() {
		cancel(nil)
		if err := <-ended; err != nil {
			ts.Logf("the control plane ended: %v", err)
		}
	})
	addrs, err := plane.Addrs(ctx)
	ts.Check(errors.Join(err, context.Cause(ctx)))
	return "http://" + addrs.API.String()
}

// cmdMode expects the permissions of a file: mode 0600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
