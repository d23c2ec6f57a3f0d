// Command kuma-dp runs one Envoy as a proxy of a mesh.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"koguma/mistake"
)

func main() {
	if err := harden(); err != nil {
		fmt.Fprintf(os.Stderr, "kuma-dp: %v\n", err)
		os.Exit(1)
	}
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// harden keeps the key and the token in this process to itself: nobody else reads the files that it makes, and it leaves
// no memory behind when it crashes. Nor does Envoy, which has the key as well: limits are inherited, and the other is not.
func harden() error {
	unix.Umask(0o077)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot turn off core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("cannot turn off Envoy's core dumps: %w", err)
	}
	return nil
}

// usageError is what was wrong with the command line.
type usageError struct{ error }

// execute is main without the process. It returns the exit code: 0 if all went well, 1 if not, 2 if the command line
// makes no sense.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "kuma-dp: %v; see kuma-dp run --help\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "kuma-dp: %v\n%s", err, mistake.Explain(err))
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kuma-dp",
		Short: "The agent beside each Envoy of a mesh",
		Long: `The agent beside each Envoy of a mesh: it proves to the control plane who the proxy is, by a token, and keeps its Envoy in
configuration and certificates. The private key never leaves this machine's memory.`,
		Example:       "  kuma-dp run --cp-address=https://127.0.0.1:5678 --dataplane-file=web.yaml --dataplane-token-file=token",
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRunCommand(), newReadyCommand(), newDoctorCommand(), &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    `Print the version. The control plane is told, and shows it: kumactl inspect dataplanes.`,
		Example: "  kuma-dp version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Koguma: %s\n", version())
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

// version is what this program was built from, as far as it knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
