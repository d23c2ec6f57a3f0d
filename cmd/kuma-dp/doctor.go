package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"koguma/agent"
	"koguma/doctor"
)

func newDoctorCommand() *cobra.Command {
	var s settings
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps kuma-dp run from working, and say what to do",
		Long: `Look for what keeps kuma-dp run from working with the same flags and environment variables, and say what to do: the
token and its bounds, the Dataplane, ports, the workload, Envoy, this machine, each control plane and its clock.

Nothing is changed. A proxy that runs under this name goes on undisturbed: the control plane is asked whether it would let the
proxy in, and is not connected to. The code is 0 if no check failed, and 1 if one did.`,
		Example: `  kuma-dp doctor --cp-address=https://127.0.0.1:5678 --dataplane-file=web.yaml --dataplane-token-file=token
  kuma-dp doctor --name=web-1 --cp-address=http://127.0.0.1:5681 --dataplane-token-file=token -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usageError{fmt.Errorf("--output %q: choose table or json", output)}
			}
			shown := cmd.Flags().Changed("dataplane-token")
			report := new(doctor.Report)
			if err := fromEnvironment(cmd.Flags(), os.Environ()); err != nil {
				report.Add(doctor.Bad("settings", "%v", err))
			} else {
				report.Add(s.examine(cmd, shown)...)
			}
			write := report.Write
			if output == "json" {
				write = report.WriteJSON
			}
			return errors.Join(write(cmd.OutOrStdout()), report.Err())
		},
	}
	s.register(cmd.Flags())
	describe(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "how to print: table or json")
	return cmd
}

// examine makes all checks; shown is whether the token stands in the command line.
func (s *settings) examine(cmd *cobra.Command, shown bool) []doctor.Check {
	const name = "settings"
	cfg, err := s.withoutFiles(io.Discard, io.Discard)
	if err != nil {
		return []doctor.Check{doctor.Bad(name, "%v", err)}
	}
	var checks []doctor.Check
	if unknown := unknownVariables(os.Environ()); len(unknown) > 0 {
		checks = append(checks, doctor.Doubt(name, "environment variables that have no effect here: %s", strings.Join(unknown, ", ")).
			Fix("see kuma-dp run --help for those there are"))
	}
	if shown {
		checks = append(checks, doctor.Doubt(name, "a token on the command line can be read by everybody on this host").
			Fix("use --dataplane-token-file"))
	}
	exam := agent.Exam{Config: cfg}
	exam.Config.CACert, exam.CAErr = s.readCA()
	exam.Config.Dataplane, exam.DataplaneErr = s.readDataplane(cmd.InOrStdin())
	return append(checks, exam.Run(cmd.Context())...)
}
