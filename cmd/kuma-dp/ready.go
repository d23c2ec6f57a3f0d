package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"koguma/agent"
	"koguma/doctor"
)

func newReadyCommand() *cobra.Command {
	var port int
	variable := variables()["readiness-port"][0]
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the agent on this host whether it and its Envoy are ready",
		Long: `Ask the agent that runs on this host whether it and its Envoy are ready, as GET /ready does. Exit code: 0 if so, 1 with
the reason if not, or if it does not answer. A health check, where there is no curl.

Where several agents run, each needs a port that was chosen, for run and for ready.`,
		Example: `  # the second agent of this host
  kuma-dp ready --readiness-port=9903

  # for docker-compose.yaml
  healthcheck: {test: [CMD, kuma-dp, ready]}`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if value := os.Getenv(variable); value != "" && !cmd.Flags().Changed("readiness-port") {
				var err error
				if port, err = strconv.Atoi(value); err != nil {
					return fmt.Errorf("%s: not a number; unset it, or give --readiness-port", variable)
				}
			}
			return ready(cmd.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&port, "readiness-port", agent.DefaultReadinessPort, "port of /ready on 127.0.0.1 ["+variable+"]")
	return cmd
}

// ready writes what the agent says, or returns it as the error if that is no.
func ready(ctx context.Context, address string, w io.Writer) error {
	answer, err := doctor.AskReady(ctx, address)
	if err != nil {
		return fmt.Errorf("no agent answers at %s: %w; is kuma-dp running, and with this --readiness-port?", address, err)
	}
	return answer.WriteReady(w)
}
