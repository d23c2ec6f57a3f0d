package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"koguma/cp/settings"
)

func newMigrateCommand() *cobra.Command {
	migrate := &cobra.Command{
		Use:   "migrate",
		Short: "Change the schema of the store",
		Long: `Change the schema of the store, where that is Postgres. kuma-cp run never does: it refuses one that is older or newer than it
knows, so that several control planes can go on while one of them is replaced.`,
		Example: "  KUMA_STORE_TYPE=postgres KUMA_STORE_POSTGRES_HOST=db kuma-cp migrate up",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var file string
	up := &cobra.Command{
		Use:   "up",
		Short: "Make the schema in Postgres, or bring it up to this version",
		Long: "Make the schema in Postgres, or bring it up to this version.\n\n" +
			"The settings are those of kuma-cp run. There is no way back: make a backup before. Nothing happens where nothing is\n" +
			"to be done, and of several that run at once, one does it.",
		Example: `  KUMA_STORE_TYPE=postgres KUMA_STORE_POSTGRES_HOST=db kuma-cp migrate up
  kuma-cp migrate up -c kuma-cp.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(file, os.Environ())
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			from, to, err := settings.Migrate(ctx, cfg)
			switch {
			case err != nil:
				return err
			case from == to:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "the schema is at version %d already\n", to)
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "the schema went from version %d to %d\n", from, to)
			}
			return err
		},
	}
	up.Flags().StringVarP(&file, "config-file", "c", "", "YAML file with settings")
	migrate.AddCommand(up)
	return migrate
}
