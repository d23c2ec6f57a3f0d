package main

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kuma-cp": main})
}

// TestScript runs testdata/script. All ports are chosen by the kernel. Beside the verbs of testscript there is
//
//	await FILE REGEXP  wait until the file has a match; the first group, if there is one, becomes $found
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each program under -race takes a second to end
			for _, port := range []string{"KUMA_API_SERVER_HTTP_PORT", "KUMA_DP_SERVER_PORT", "KUMA_DIAGNOSTICS_SERVER_PORT", "KUMA_ADMIN_SERVER_LOCAL_PORT"} {
				env.Setenv(port, "0")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await},
	})
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	want := regexp.MustCompile(args[1])
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			continue // not there yet
		}
		if m := want.FindSubmatch(data); m != nil {
			ts.Setenv("found", string(m[len(m)-1]))
			return
		}
	}
	ts.Fatalf("%s has no %q: %s", args[0], args[1], ts.ReadFile(args[0]))
}
