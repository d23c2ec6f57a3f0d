package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"koguma/cp"
	"koguma/cp/settings"
)

func newRunCommand() *cobra.Command {
	var file string
	level := slog.LevelInfo
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the control plane until SIGTERM or SIGINT",
		Long: "Run the control plane until SIGTERM or SIGINT.\n\n" +
			"Settings come from environment variables (KUMA_STORE_TYPE), which go over the file (store.type), which goes\n" +
			"over the defaults. 'kuma-cp config' shows what that comes to, and GET /config on the API what is in effect.",
		Example: `  # the store in a file, below $HOME/.kuma
  kuma-cp run

  # settings from a file, one of them from the environment
  KUMA_API_SERVER_READ_ONLY=true kuma-cp run -c kuma-cp.yaml --log-level debug`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(file, os.Environ())
			if err != nil {
				return err
			}
			cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			c, err := cp.New(cfg)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.Run(ctx)
		},
	}
	cmd.Flags().StringVarP(&file, "config-file", "c", "", "YAML file with settings")
	cmd.Flags().TextVar(&level, "log-level", level, "the least level that is logged: debug, info, warn or error")
	levels := cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("log-level", levels) // it exists
	return cmd
}
