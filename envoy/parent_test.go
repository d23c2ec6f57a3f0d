package envoy_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"koguma/envoy"
)

// parentOf is the variable that makes of the test binary a program that starts an Envoy in that directory, and waits.
const parentOf = "KOGUMA_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentOf); dir != "" {
		parent(dir, os.Args[1])
		return
	}
	os.Exit(m.Run())
}

func parent(dir, binary string) {
	p, err := envoy.Start(configIn(dir, binary))
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID())
	<-p.Done()
}

// An Envoy dies with its parent, however that dies, and what they left does not stop the next pair, at once and in the
// same place.
func TestKilledParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	for range 5 {
		cmd := exec.Command(self, cfg.Binary)
		cmd.Env = append(os.Environ(), parentOf+"="+filepath.Dir(cfg.AdminSocket))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if runs(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
		ready(t, cfg.AdminSocket)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		eventually(t, "killed with its parent", func() bool { return !runs(pid) })
	}
	p := start(t, cfg)
	ready(t, cfg.AdminSocket)
	p.Stop(0)
}
