package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"koguma/cp/settings"
	"koguma/doctor"
)

func newReadyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the control plane on this host whether it is ready",
		Long: "Ask the control plane that runs on this host, with the same file and environment, whether it is ready, as GET /ready\n" +
			"does. Exit code: 0 if it is, 1 with the reason if it is not or does not answer. A health check, where there is no curl.",
		Example: `  # the one that runs by this file
  kuma-cp ready -c kuma-cp.yaml

  # for docker-compose.yaml
  healthcheck: {test: [CMD, kuma-cp, ready]}`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(file, os.Environ())
			if err != nil {
				return err
			}
			d := cfg.Diagnostics
			if d.ServerPort == 0 {
				return errors.New("diagnostics.serverPort is 0, which is any port: set KUMA_DIAGNOSTICS_SERVER_PORT for both, run and ready")
			}
			return ready(cmd.Context(), net.JoinHostPort(d.Interface, strconv.Itoa(d.ServerPort)), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&file, "config-file", "c", "", "YAML file with settings")
	return cmd
}

// ready writes what the diagnostics server says, or returns it as the error if that is no.
func ready(ctx context.Context, address string, w io.Writer) error {
	answer, err := doctor.AskReady(ctx, address)
	if err != nil {
		return fmt.Errorf("%s, where diagnostics should be, does not answer: %w; is kuma-cp running, with the same settings?",
			address, err)
	}
	return answer.WriteReady(w)
}
