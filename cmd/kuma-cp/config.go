package main

import (
	"os"

	"github.com/spf13/cobra"

	"koguma/cp"
	"koguma/cp/settings"
)

func newConfigCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration that run would have, and the limits",
		Long: "Print the configuration that run would have with the same file and environment, as YAML, and the limits that are\n" +
			"built in. Passwords are not shown. Nothing is opened, and no control plane is asked.",
		Example: `  # what is wrong with this file, if anything is
  kuma-cp config -c kuma-cp.yaml

  # what a variable comes to
  KUMA_STORE_TYPE=memory kuma-cp config`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(file, os.Environ())
			if err != nil {
				return err
			}
			text, err := cp.ConfigYAML(cfg)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config-file", "c", "", "YAML file with settings")
	return cmd
}
