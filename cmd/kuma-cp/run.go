package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"koguma/cp"
	"koguma/cp/settings"
	"koguma/systemd"
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
			told := make(chan struct{})
			go func() { defer close(told); tell(ctx, c, cfg.Log) }()
			err = c.Run(ctx)
			stop()
			<-told
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config-file", "c", "", "YAML file with settings")
	cmd.Flags().TextVar(&level, "log-level", level, "the least level that is logged: debug, info, warn or error")
	levels := cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("log-level", levels) // it exists
	return cmd
}

// tell tells the service manager when the control plane is ready, and when it is about to end. It returns when ctx has ended.
func tell(ctx context.Context, c *cp.ControlPlane, log *slog.Logger) {
	if _, err := c.Addrs(ctx); err == nil {
		notify(systemd.Ready, log)
	}
	<-ctx.Done()
	notify(systemd.Stopping, log)
}

func notify(state string, log *slog.Logger) {
	if err := systemd.Notify(state); err != nil {
		log.Warn(err.Error())
	}
}
