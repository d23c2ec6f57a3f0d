package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"koguma/testenv"
)

// makeBases makes what stands in for images of registries, under their names.
func (e *engine) makeBases(ctx context.Context) (string, error) {
	if err := e.fillContext(ctx); err != nil {
		return "", err
	}
	var names []string
	for _, image := range []struct{ target, name string }{
		{"busybox", "busybox:1.37"},
		{"golang", "golang:1.26-bookworm"},
		{"python", "python:3.13-slim-bookworm"},
		{"distroless", "gcr.io/distroless/base-debian12:nonroot"},
		{"postgres", "postgres:17"},
	} {
		line := fmt.Sprintf("docker build --quiet --target %s --tag %s %s", image.target, image.name, e.path("context"))
		if _, err := e.run(ctx, line); err != nil {
			return "", err
		}
		names = append(names, image.name)
	}
	return strings.Join(names, ", "), nil
}

// fillContext puts in one place what the images are made of. What is large is mounted there.
func (e *engine) fillContext(ctx context.Context) error {
	goroot, err := testenv.Run(ctx, testenv.Command{Name: "go", Path: "go", Args: []string{"env", "GOROOT"}})
	if err != nil {
		return err
	}
	for name, source := range map[string]string{
		"go":       strings.TrimSpace(goroot),
		"debian":   ".tools/debian/compose",
		"libc":     ".tools/debian/libc",
		"postgres": ".tools/postgres",
		"wheel":    ".tools/compose/wheel",
	} {
		target := e.path("context", name)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w; 'make test-compose' fetches what is missing", source, err)
		}
	}
	for _, name := range []string{"Dockerfile", "postgres.sh"} {
		data, err := os.ReadFile(filepath.Join("testenv", "compose", "bases", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(e.path("context", name), data, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// modules fills a folder with the Go modules that the programs in the images need, as a proxy for modules gives them: from
// this machine's cache, or else by its settings.
func modules(ctx context.Context, dir string) error {
	env, err := testenv.Run(ctx, testenv.Command{Name: "go", Path: "go", Args: []string{"env", "GOMODCACHE", "GOPROXY"}})
	if err != nil {
		return err
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(env), "\n")
	own := dir + ".cache"
	_, err = testenv.Run(ctx, testenv.Command{
		Name: "go", Path: "go", Args: []string{"list", "-deps", "./cmd/...", "./testenv/compose/workload"},
		Env: []string{"GOMODCACHE=" + own, "GOPROXY=file://" + cache + "/cache/download," + proxy, "GOFLAGS=-modcacherw"},
	})
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(own, "cache", "download"), dir)
}
