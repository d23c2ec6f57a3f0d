package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// product is what clients and control planes of ours call themselves.
const product = "Koguma"

// build is what this program was made from, as far as it knows.
type build struct{ version, revision, time, goVersion string }

func readBuild() build {
	b := build{version: "dev", revision: "unknown", time: "unknown", goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = strings.TrimPrefix(v, "v")
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.revision = s.Value
		case "vcs.time":
			b.time = s.Value
		}
	}
	return b
}

// userAgent is how kumactl names itself to control planes.
func (b build) userAgent() string {
	return fmt.Sprintf("kumactl/%s (%s; %s; %s/%.7s)", b.version, runtime.GOOS, runtime.GOARCH, product, b.revision)
}

func (c *cli) versionCommand() *cobra.Command {
	var detailed bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of kumactl and of the control plane",
		Long: `Print the versions of kumactl and of the control plane. They should be the same: a warning says so if not. A control plane
that does not answer is a warning too.`,
		Example: `  kumactl version
  kumactl version --detailed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := readBuild()
			fmt.Fprintf(c.stdout, "Client: %s %s\n", product, b.version)
			if detailed {
				fmt.Fprintf(c.stdout, "  Git commit: %s\n  Commit date: %s\n  Go: %s\n", b.revision, b.time, b.goVersion)
			}
			cp, err := c.client()
			if err != nil {
				return err
			}
			server, err := cp.index(cmd.Context())
			if err != nil { // the client's version is told all the same, so this is no failure
				c.warn("the version of the control plane is unknown: %v", err)
				return nil
			}
			_, err = fmt.Fprintf(c.stdout, "Server: %s %s\n", printable(server.Product), printable(server.Version))
			if server.Version != b.version {
				c.warn("kumactl is version %s, but the control plane is version %s", b.version, server.Version)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&detailed, "detailed", "a", false, "also print what kumactl was built from")
	return cmd
}
