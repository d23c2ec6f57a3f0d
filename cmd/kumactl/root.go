package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
)

// cli is what all commands share: where they read and write, and the global flags.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile string // "" is the default file
	noConfig   bool
	context    string // "" is the current one of the config file
	timeout    time.Duration
	logLevel   choice
}

func (c *cli) rootCommand() *cobra.Command {
	root := group("kumactl", "Manage a mesh of services",
		c.applyCommand(),
		c.configCommand(),
		c.deleteCommand(),
		c.doctorCommand(),
		c.explainCommand(),
		c.exportCommand(),
		c.generateCommand(),
		c.getCommand(),
		c.inspectCommand(),
		c.revokeCommand(),
		c.rotateCommand(),
		c.versionCommand(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)

	c.logLevel = choice{"off", []string{"off", "info", "debug"}}
	flags := root.PersistentFlags()
	flags.StringVar(&c.configFile, "config-file", "", "path to the configuration file (default $HOME/.kumactl/config)")
	flags.BoolVar(&c.noConfig, "no-config", false, "use no configuration file: the control plane is at "+defaultAddress)
	flags.StringVar(&c.context, "context", "", "the context to use this once, instead of the current one")
	flags.DurationVar(&c.timeout, "api-timeout", time.Minute, "how long to wait for each answer of the control plane (0: forever)")
	flags.Var(&c.logLevel, "log-level", "what to tell on stderr about the work: "+c.logLevel.words())
	root.Long = `Manage a mesh of services: apply what it is to be like, look at what it is like, and give out and take back the tokens and
keys by which its proxies know each other.

The control plane is the active one of 'kumactl config control-planes list'; at first that is ` + defaultAddress + `.`
	root.Example = `  kumactl apply -f mesh.yaml
  kumactl generate dataplane-token --mesh default --name web-1 --tag kuma.io/service=web --valid-for 720h > web-1.token
  kumactl inspect dataplanes
  kumactl inspect connection --from web --to backend`
	exampleOfGroups(root)
	c.offerMeshes(root)
	markFailures(root)
	return root
}

// markFailures has every command say that it was its own work that failed.
func markFailures(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := do(cmd, args); err != nil {
				return failure{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markFailures(sub)
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			cmd.SuggestionsMinimumDistance = 2
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err = fmt.Errorf("%w: did you mean %q?", err, near[0])
			}
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// logger writes to stderr what the user asked to be told with --log-level.
func (c *cli) logger() *slog.Logger {
	levels := map[string]slog.Level{"info": slog.LevelInfo, "debug": slog.LevelDebug}
	level, ok := levels[c.logLevel.value]
	if !ok {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))
}

// warn tells something that does not stop the work.
func (c *cli) warn(format string, args ...any) {
	fmt.Fprintln(c.stderr, "Warning:", printableText(fmt.Sprintf(format, args...)))
}

// addMeshFlag gives the command and those below it the flag that names a mesh.
func addMeshFlag(cmd *cobra.Command, mesh *string) {
	cmd.PersistentFlags().StringVarP(mesh, "mesh", "m", "default", "the mesh")
}

// inMesh is for a command about one mesh: the control plane, and the path of the mesh there.
func (c *cli) inMesh(mesh string) (cp *client, path string, err error) {
	if cp, err = c.client(); err != nil {
		return nil, "", err
	}
	path, err = meshPath(mesh)
	return cp, path, err
}

// addOutputFlag gives the command and those below it the flag that says how to print.
func addOutputFlag(cmd *cobra.Command, output *choice) {
	*output = choice{"table", []string{"table", "yaml", "json"}}
	cmd.PersistentFlags().VarP(output, "output", "o", "how to print: "+output.words())
	complete(cmd, "output", output.of...)
}

// complete has the shell offer these words for the flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	offer := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // there is no such flag: a mistake in the command itself
	}
}

// require makes the flags of the command mandatory.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag: a mistake in the command itself
		}
	}
}
