package testenv_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// What is in the memory of our programs stays there: another process of the same user reads nothing of it, and no core dump
// is left of an agent or of what it starts, even where core dumps are on.
func TestMemoryStaysWhereItIs(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "koguma-memory-") // where Nobody may come
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	envoy := filepath.Join(dir, "envoy") // of which only the limits matter
	if err := os.WriteFile(envoy, []byte("#!/bin/sh\nexec sleep 100\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kuma-cp", "kuma-dp"} {
		binary, err := testenv.Binary(name)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", binary, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.Chown(dir, testenv.Nobody, testenv.Nobody); err != nil {
		t.Fatal(err)
	}
	start := func(program string, args ...string) *testenv.Process {
		p, err := testenv.Start(testenv.Command{
			Name: program, Path: "/bin/sh", Args: append([]string{"-c", `ulimit -c unlimited; exec "$0" "$@"`, program}, args...),
			Dir: dir, Env: testenv.ControlPlaneEnv(dir), User: testenv.Nobody,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	readable := func(pid int) error {
		_, err := testenv.Run(t.Context(), testenv.Command{
			Name: "cat", Path: "/bin/cat", Args: []string{fmt.Sprintf("/proc/%d/environ", pid)}, User: testenv.Nobody})
		return err
	}
	sleep := start("sleep", "100")
	eventually(t, 5*time.Second, "a process like any other to be readable", func() error { return readable(sleep.PID()) })
	cp := start("./kuma-cp", "run")
	dp := start("./kuma-dp", "run", "--name=web-1", "--cp-address=https://127.0.0.1:1", "--binary-path="+envoy, "--work-dir="+dir)
	for p, up := range map[*testenv.Process]string{cp: `(is up)`, dp: `(msg=readiness)`} {
		if _, err := p.AwaitOutput(t.Context(), regexp.MustCompile(up)); err != nil {
			t.Fatal(err)
		}
		if err := readable(p.PID()); err == nil || !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("%s: reading its memory: %v", p.Name(), err)
		}
	}
	var children []int
	eventually(t, 5*time.Second, "an Envoy", func() error {
		if children = testenv.Descendants(dp.PID()); len(children) != 1 {
			return errors.New("there is none")
		}
		return nil
	})
	for _, pid := range append(children, dp.PID()) {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if want := regexp.MustCompile(`Max core file size +0 +0 `); err != nil || !want.Match(limits) {
			t.Errorf("process %d has the limits, %v\n%s", pid, err, limits)
		}
	}
}
