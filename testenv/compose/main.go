// Compose tries docker-compose.yaml on a real engine: go run ./testenv/compose
//
// What it does there are the commands of README.md, section "In docker-compose", each compared with what the README says of
// it. The engine is one of its own, in namespaces of its own for processes, mounts and the network. So everything that was
// started ends with this program, however that ends. It needs root for that, and what 'make test-compose' fetches before.
// Registries of images are not asked for anything: see bases.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"koguma/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	do := outside
	if os.Getpid() == 1 {
		do = func(ctx context.Context) error { return inside(ctx, os.Args[1]) }
	}
	if err := do(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "compose: %v\n", err)
		os.Exit(1)
	}
}

// outside gets ready what needs the network, runs this program again in namespaces of its own, and removes what is left.
func outside(ctx context.Context) (err error) {
	if os.Getuid() != 0 {
		return errors.New("it starts a Docker engine of its own, which takes root: run it with sudo")
	}
	dir, err := os.MkdirTemp("", "koguma-compose-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := modules(ctx, filepath.Join(dir, "context", "modules")); err != nil {
		return err
	}
	return isolated(ctx, dir)
}

// inside is the whole test. The folder is removed by whoever runs it.
func inside(ctx context.Context, dir string) error {
	if err := settle(); err != nil {
		return err
	}
	commands, err := commandsOf("README.md", "In docker-compose")
	if err != nil {
		return err
	}
	e := &engine{dir: dir}
	steps := []testenv.Step{
		{Does: "started an engine", Do: e.start},
		{Does: "made base images of what is here", Do: e.makeBases},
	}
	for _, c := range commands {
		steps = append(steps, testenv.Step{Does: c.line, Do: func(ctx context.Context) (string, error) { return e.obey(ctx, c) }})
		if c.starts() {
			steps = append(steps,
				testenv.Step{Does: "looked at the images", Do: e.sizes},
				testenv.Step{Does: "looked at each container", Do: e.inspect},
				testenv.Step{Does: "asked the API from the host", Do: e.askAPI})
		}
	}
	return testenv.Show(ctx, os.Stdout, 20*time.Minute, steps)
}
