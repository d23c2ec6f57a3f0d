// Command kumactl writes and reads what a mesh is made of, through the API of a control plane.
//
// Its exit code is 0 when everything that was asked for was done, 1 when it was not, and 2 when it could not be
// understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"koguma/mistake"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: tests call it with their own arguments.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "Error:", printableText(err.Error()))
	fmt.Fprint(stderr, printableText(mistake.Explain(err)))
	if _, ok := errors.AsType[failure](err); ok {
		return 1
	}
	fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	return 2
}

// failure is the error of a command that was understood; every other error is one of usage.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }
