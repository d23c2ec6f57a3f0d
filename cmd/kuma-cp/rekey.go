package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"koguma/cp/settings"
)

func newRekeyCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Seal all secrets in the store with the first key of the key file",
		Long: "Seal all secrets in the store with the first key of the key file (KUMA_STORE_ENCRYPTION_KEY_FILE): those in clear,\n" +
			"and those that are sealed with another key of it. After that, the other keys are no longer needed.\n\n" +
			"The settings are those of kuma-cp run. A store in a file is written anew, so that nothing is left in clear in it;\n" +
			"no kuma-cp may run on it meanwhile. With Postgres all of them may go on. It may be run again at any time.",
		Example: `  KUMA_STORE_ENCRYPTION_KEY_FILE=/etc/koguma/store.key kuma-cp rekey
  kuma-cp rekey -c kuma-cp.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, config, func(ctx context.Context, cfg settings.Config) error {
				n, err := settings.Rekey(ctx, cfg)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d secrets are sealed anew; all are sealed with the first key now\n", n)
				return err
			})
		},
	}
	addConfigFlag(cmd, &config)
	return cmd
}
