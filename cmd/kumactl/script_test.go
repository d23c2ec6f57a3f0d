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
	"koguma/cp/settings"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kumactl": main})
}

// TestScript runs testdata/script. Each script has a home directory of its own; beside the verbs of testscript it has
//
//	kuma-cp         start a control plane, to which kumactl then speaks by default; its URL is in $CP
//	kuma-cp remote  the same; it takes this machine for another one, and has an API under TLS, whose URL is in $HTTPS,
//	                and a public admin server, with cp.pem and cp.key, and the folder clients
//	mode 0600 FILE  expect the permissions of a file
//	provided-ca [-nokey|-inline] MESH FILE  write a Mesh with a CA
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
			"kuma-cp":     cmdKumaCP,
			"mode":        cmdMode,
			"provided-ca": cmdProvidedCA,
		},
	})
}

// cmdKumaCP starts a control plane that ends with the script.
func cmdKumaCP(ts *testscript.TestScript, _ bool, args []string) {
	cfg := settings.Default()
	switch {
	case len(args) == 1 && args[0] == "remote":
		setRemote(ts, &cfg)
	case len(args) > 0:
		ts.Fatalf("usage: kuma-cp [remote]")
	}
	addrs := startCP(ts, cfg)
	address := "http://" + addrs.API.String()
	ts.Setenv("CP", address)
	if addrs.HTTPS != nil {
		ts.Setenv("HTTPS", "https://"+addrs.HTTPS.String())
	}
	dir := filepath.Join(ts.Getenv("HOME"), ".kumactl")
	ts.Check(os.MkdirAll(dir, 0o755))
	text := fmt.Sprintf("controlPlanes: [{name: local, coordinates: {apiServer: {url: %q}}}]\n"+
		"contexts: [{name: local, controlPlane: local}]\ncurrentContext: local\n", address)
	ts.Check(os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o600))
}

// setRemote has the control plane serve other machines.
func setRemote(ts *testscript.TestScript, cfg *settings.Config) {
	cfg.APIServer.Authn.LocalhostIsAdmin = false
	cfg.APIServer.Auth.ClientCertsDir = ts.MkAbs("clients")
	https, public := &cfg.APIServer.HTTPS, &cfg.AdminServer.Public
	https.Enabled, https.Interface, https.Port = true, "127.0.0.1", 0
	https.TLSCertFile, https.TLSKeyFile = ts.MkAbs("cp.pem"), ts.MkAbs("cp.key")
	public.Enabled, public.Interface = true, "127.0.0.1"
	public.TLSCertFile, public.TLSKeyFile, public.ClientCertsDir = https.TLSCertFile, https.TLSKeyFile, cfg.APIServer.Auth.ClientCertsDir
}

// startCP starts a control plane in this process, on ports that the kernel chooses.
func startCP(ts *testscript.TestScript, cfg settings.Config) cp.Addrs {
	cfg.Store.Type = settings.StoreMemory
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
	return addrs
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
