package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"koguma/agent"
	"koguma/systemd"
)

func newRunCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run Envoy as a proxy of a mesh",
		Long: `Run Envoy as a proxy of a mesh, until SIGTERM or SIGINT. Then open connections get the drain time to end; a
second signal cuts that short.

Every flag but --dataplane-var can be given as an environment variable, too; a flag wins.`,
		Example: `  # the Dataplane was applied before
  kuma-dp run --name=web-1 --cp-address=http://127.0.0.1:5681 --dataplane-token-file=token

  # the agent brings its Dataplane along
  kuma-dp run --cp-address=https://127.0.0.1:5678 --dataplane-file=web.yaml --dataplane-token-file=token

  # two control planes of one store
  kuma-dp run --cp-address=https://cp-1:5678,https://cp-2:5678 --dataplane-file=web.yaml --dataplane-token-file=token`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shown := cmd.Flags().Changed("dataplane-token")
			if err := fromEnvironment(cmd.Flags(), os.Environ()); err != nil {
				return err
			}
			cfg, err := s.config(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if shown {
				cfg.Log.Warn("a token on the command line can be read by everybody on this host; use --dataplane-token-file")
			}
			if unknown := unknownVariables(os.Environ()); len(unknown) > 0 {
				cfg.Log.Warn("environment variables that have no effect here", "names", unknown)
			}
			return run(cmd.Context(), cfg)
		},
	}
	s.register(cmd.Flags())
	describe(cmd.Flags())
	levels := cobra.FixedCompletions([]string{"debug", "info", "warn", "error", "off"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("log-level", levels) // it exists
	return cmd
}

// run runs the agent until the first signal, and the second cuts its good-bye short.
func run(ctx context.Context, cfg agent.Config) error {
	notify := func(state string) {
		if err := systemd.Notify(state); err != nil {
			cfg.Log.Warn(err.Error())
		}
	}
	cfg.OnReady = func() { notify(systemd.Ready) }
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for act := cancel; ; act = a.Hurry {
			select {
			case <-signals:
				notify(systemd.Stopping)
				act()
			case <-done:
				return
			}
		}
	}()
	return a.Run(ctx)
}
