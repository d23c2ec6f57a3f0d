package testenv_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"koguma/testenv"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the programs as they are now, without the race detector, so that no test meets older ones, runs the tests,
// and makes sure that they left neither a process nor a file.
func run(m *testing.M) int {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = p.Value.Set("5") // these tests wait more than they compute
	}
	// What a killed process leaves behind becomes ours, so that we see it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fail("become the parent of orphans: %v", err)
	}
	dir, err := os.MkdirTemp("", "kt-")
	if err != nil {
		return fail("%v", err)
	}
	defer os.RemoveAll(dir)
	if err := build(filepath.Join(dir, "bin")); err != nil {
		return fail("%v", err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fail("%v", err)
	}
	os.Setenv("TMPDIR", tmp)
	os.Setenv("KOGUMA_BIN", filepath.Join(dir, "bin"))
	code := m.Run()
	for _, pid := range testenv.Descendants(os.Getpid()) {
		if testenv.Alive(pid) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			code = fail("process %d was left behind: %q", pid, line)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		code = fail("files were left behind: %v", left)
	}
	return code
}

func fail(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "testenv: "+format+"\n", args...)
	return 1
}

func build(dir string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/...")
	cmd.Dir = ".." // the tests run in their package's folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
