// Package drill has what drills are made of: a mesh of real processes, a load that is sent through it, and a record that
// says phase by phase what was lost, and how long that took which was promised.
//
// A request is sent once. Each is counted and timed at the client, so that nothing is taken from what the mesh says of
// itself; what the Envoys do about it on their own can be counted beside it.
package drill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
)

// Main is a drill as a program: with a mesh whose folder holds these files, and until it is over or a signal ends it.
// An error ends it with the code 1.
func Main(files fs.FS, run func(context.Context, *Mesh) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := within(ctx, files, run); err != nil {
		fmt.Fprintf(os.Stderr, "drill: %v\n", err)
		os.Exit(1)
	}
}

// within runs a drill in a folder that is gone at the end, with everything that was started.
func within(ctx context.Context, files fs.FS, run func(context.Context, *Mesh) error) (err error) {
	dir, err := os.MkdirTemp("", "koguma-drill-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	m := &Mesh{dir: dir}
	defer func() { err = errors.Join(err, m.stop()) }()
	return run(ctx, m)
}
