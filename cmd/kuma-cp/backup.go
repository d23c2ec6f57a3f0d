package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"koguma/cp"
	"koguma/cp/settings"
)

func newBackupCommand() *cobra.Command {
	var config, file string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write all that is in the store to a file",
		Long: "Write all that is in the store to a new file, which only this user can read.\n\n" +
			"The settings are those of kuma-cp run. A store in a file can be read while no kuma-cp runs on it, one in Postgres at\n" +
			"any time. Secrets are sealed with the first key of the key file; without a key file they are in the backup in clear.\n" +
			"The key file itself is not in it: keep a copy elsewhere.",
		Example: `  kuma-cp backup --file koguma.backup
  kuma-cp backup -c kuma-cp.yaml --file koguma.backup`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errNoFile()
			}
			return withStore(cmd, config, func(ctx context.Context, cfg settings.Config) error {
				r, err := cp.Backup(ctx, cfg, file)
				if err != nil {
					return err
				}
				if !r.Sealed {
					fmt.Fprintf(cmd.ErrOrStderr(), "warning: the keys of the mesh are in %s in clear: who reads it can sign tokens and certificates; "+
						"see KUMA_STORE_ENCRYPTION_KEY_FILE\n", file)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d resources of %s are in %s\n", r.Resources, r.Store, file)
				return err
			})
		},
	}
	addStoreFlags(cmd, &config, &file)
	return cmd
}

func addStoreFlags(cmd *cobra.Command, config, file *string) {
	addConfigFlag(cmd, config)
	cmd.Flags().StringVar(file, "file", "", "the backup")
}

func addConfigFlag(cmd *cobra.Command, config *string) {
	cmd.Flags().StringVarP(config, "config-file", "c", "", "YAML file with settings")
}

func errNoFile() error { return usageError{errors.New("which file? use --file FILE")} }

// withStore calls do with the settings of the store, until a signal comes.
func withStore(cmd *cobra.Command, config string, do func(context.Context, settings.Config) error) error {
	cfg, err := settings.Load(config, os.Environ())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return do(ctx, cfg)
}
