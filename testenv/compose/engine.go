package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"koguma/testenv"
)

// engine is a Docker engine with a folder of its own, and the client that speaks to it. It ends with this program.
type engine struct {
	dir    string
	daemon *testenv.Process
}

func (e *engine) path(elem ...string) string { return filepath.Join(e.dir, filepath.Join(elem...)) }

// debian is where the Makefile has unpacked a package's files.
func debian(folder string, elem ...string) (string, error) {
	return filepath.Abs(filepath.Join(".tools", "debian", folder, filepath.Join(elem...)))
}

func (e *engine) start(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := os.WriteFile(e.path("engine.json"), []byte("{}"), 0o600); err != nil { // and not that of the machine
		return "", err
	}
	root, err := debian("docker")
	if err != nil {
		return "", err
	}
	lib, err := libraries(root)
	if err != nil {
		return "", err
	}
	e.daemon, err = testenv.Start(testenv.Command{
		Name: "dockerd", Path: filepath.Join(root, "usr", "sbin", "dockerd"), Dir: e.dir,
		Args: []string{
			"--config-file", e.path("engine.json"), "--data-root", e.path("data"), "--exec-root", e.path("exec"),
			"--pidfile", e.path("pid"), "--host", "unix://" + e.path("socket"), "--cgroup-parent", "/" + cgroup,
		},
		Env: []string{
			"PATH=" + filepath.Join(root, "usr", "sbin") + ":" + filepath.Join(root, "usr", "bin") + ":" + os.Getenv("PATH"),
			"LD_LIBRARY_PATH=" + strings.Join(lib, ":"), "XTABLES_LIBDIR=" + filepath.Join(lib[0], "xtables"),
		},
	})
	if err != nil {
		return "", err
	}
	for {
		version, err := e.run(ctx, "docker version --format '{{.Server.Version}}'")
		if err == nil {
			return fmt.Sprintf("Docker %s, ready after %.1f s", version, time.Since(begin).Seconds()), nil
		}
		select {
		case <-e.daemon.Done():
			return "", e.daemon.Running()
		case <-ctx.Done():
			return "", errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// libraries are the folders of libraries below a root, /usr first.
func libraries(root string) ([]string, error) {
	usr, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu"))
	if err == nil && len(usr) == 0 {
		err = fmt.Errorf("no libraries in %s: remove the folder, and run 'make test-compose'", root)
	}
	lib, _ := filepath.Glob(filepath.Join(root, "lib", "*-linux-gnu"))
	return append(usr, lib...), err
}

// run runs a line in a shell in which docker is ours, and returns what it wrote.
func (e *engine) run(ctx context.Context, line string) (string, error) {
	bin, err := debian("docker", "usr", "bin")
	if err != nil {
		return "", err
	}
	plugins, err := filepath.Abs(filepath.Join(".tools", "compose"))
	if err != nil {
		return "", err
	}
	out, err := testenv.Run(ctx, testenv.Command{
		Name: "sh", Path: "/bin/sh", Args: []string{"-euc", line},
		Env: []string{
			"PATH=" + bin + ":" + os.Getenv("PATH"),
			"DOCKER_HOST=unix://" + e.path("socket"), "DOCKER_CONFIG=" + plugins, "DOCKER_BUILDKIT=1",
		},
	})
	return strings.TrimSpace(out), err
}
