package testenv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"koguma/testenv"
)

// Each script of testdata/mistakes makes a mistake, sees its code, and mostly mends it with the command that was printed. There
// is one control plane for all, known to kumactl as shared, at $API and $DP, in the folder $SHARED, and an Envoy that does
// nothing. dp.yaml is a Dataplane of the service web, whose name is in $NAME. Beside the verbs of testscript there is
//
//	mistake CODE         the last command printed the code, its cause, and what to do next
//	next N [ARG...]      run the command that it printed as number N; the args take the place of the three dots
//	until REGEXP CMD...  run a command in the background until it writes that, and stop it; CMD may be next N [ARG...]
//	kuma-cp [ENV...]     start a control plane of our own, at $OWN_API, $OWN_DP, in the folder own
//	postgres             start one with an empty database, and set the variables that lead kuma-cp to it
//	early MESH FILE      write a token that begins in an hour
//	occupy               listen at a port of 127.0.0.1, which is in $PORT; the real Envoy is at $ENVOY
func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shared, err := testenv.StartControlPlane(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, shared.Process) })
	bin, err := testenv.Binary("kumactl")
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := testenv.Envoy()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/mistakes",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(bin)+":"+os.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TMPDIR", env.WorkDir)
			env.Setenv("API", shared.API)
			env.Setenv("DP", shared.DP)
			env.Setenv("SHARED", dir)
			env.Setenv("KUMA_CONTROL_PLANE_URL", shared.DP)
			env.Setenv("KUMA_DATAPLANE_RUNTIME_BINARY_PATH", filepath.Join(env.WorkDir, "envoy"))
			env.Setenv("KUMA_DATAPLANE_DRAIN_TIME", "0s")
			env.Setenv("KUMA_CONTROL_PLANE_RETRY_MAX_DURATION", "10s")
			name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			env.Setenv("NAME", name)
			env.Setenv("ENVOY", envoy)

			config := fmt.Sprintf("controlPlanes: [{name: shared, coordinates: {apiServer: {url: %q}}}]\n"+
				"contexts: [{name: shared, controlPlane: shared}]\ncurrentContext: shared\n", shared.API)
			dataplane := "type: Dataplane\nmesh: default\nname: " + name + "\nnetworking:\n  address: 127.0.0.1\n" +
				"  inbound:\n  - port: 10001\n    servicePort: 20001\n    tags: {kuma.io/service: web}\n"
			return prepare(env.WorkDir, map[string]string{
				".kumactl/config": config, "dp.yaml": dataplane, "envoy": "#!/bin/sh\nexec sleep 1000\n",
			})
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mistake": cmdMistake, "next": cmdNext, "until": cmdUntil, "kuma-cp": cmdKumaCP,
			"postgres": cmdPostgres, "early": cmdEarly, "occupy": cmdOccupy,
		},
	})
}

func stopped(t *testing.T, p *testenv.Process) {
	t.Helper()
	if err := p.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
}

// prepare writes files into a folder.
func prepare(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}
