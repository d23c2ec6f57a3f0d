// Command kuma-cp is the control plane of a mesh.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"koguma/cp"
	"koguma/mistake"
)

func main() {
	if err := harden(); err != nil {
		fmt.Fprintf(os.Stderr, "kuma-cp: %v\n", err)
		os.Exit(1)
	}
	if os.Getenv("GOGC") == "" {
		// Proxies that connect leave much garbage and little else: a few KiB each spare the time of collecting it.
		debug.SetGCPercent(150)
	}
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// harden keeps the keys in this process to itself: nobody else reads the files that it makes, and it leaves no memory
// behind when it crashes.
func harden() error {
	unix.Umask(0o077)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot turn off core dumps: %w", err)
	}
	return nil
}

// usageError is what was wrong with the command line.
type usageError struct{ error }

// execute is main without the process. It returns the exit code: 0 if all went well, 1 if not, 2 if the command line
// makes no sense.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "kuma-cp: %v; see kuma-cp --help\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "kuma-cp: %v\n%s", err, mistake.Explain(err))
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kuma-cp",
		Short: "The control plane of a mesh",
		Long: `The control plane of a mesh: it keeps what kumactl applies, lets in the proxies that prove who they are, and gives each its
configuration and certificates. Its other commands take care of what it keeps.`,
		Example: `  kuma-cp run
  kuma-cp run --config-file kuma-cp.yaml
  kuma-cp backup --file koguma.backup`,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRunCommand(), newReadyCommand(), newConfigCommand(), newMigrateCommand(), newBackupCommand(), newRestoreCommand(), newRekeyCommand(), &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    `Print the version, which GET / of the API tells as well. Control planes of one store should be of the same one.`,
		Example: "  kuma-cp version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Koguma: %s\n", cp.Version())
			return err
		},
	})
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown argument %q for %q", args[0], cmd.CommandPath())}
	}
	return nil
}
