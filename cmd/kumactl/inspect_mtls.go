package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectMTLS() *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:   "mtls",
		Short: "Show whether a mesh is under mTLS, and who still comes to its inbounds without",
		Long: `Show whether a mesh is under mTLS, and who still comes to its inbounds without.

The counts are those of each Envoy since the mesh became PERMISSIVE, or since its kuma-dp was started. PLAINTEXT and
FOREIGN TLS are connections: in plaintext, and with TLS of the workload's own. An inbound of which nothing was reported
has a dash. Once LAST SEEN is long ago everywhere, nobody is cut off by STRICT.`,
		Example: `  kumactl inspect mtls --mesh default
  kumactl inspect mtls -o json | jq -r '.items[] | select(.lastSeen) | .proxy'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			state, err := cp.mtls(cmd.Context(), mesh)
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, state)
			}
			return printMTLS(c.stdout, state, time.Now())
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	return cmd
}

func (c *client) mtls(ctx context.Context, mesh string) (*policy.MeshMTLS, error) {
	path, err := meshPath(mesh)
	if err != nil {
		return nil, err
	}
	state := new(policy.MeshMTLS)
	_, err = c.call(ctx, http.MethodGet, path+"/_mtls", nil, nil, state)
	return state, err
}

// printMTLS prints the mode, and a table of the inbounds.
func printMTLS(w io.Writer, state *policy.MeshMTLS, now time.Time) error {
	backend := ""
	if state.Backend != "" {
		backend = ", backend " + state.Backend
	}
	if _, err := fmt.Fprintln(w, printable(fmt.Sprintf("mesh %s: mTLS %s%s", state.Mesh, state.Mode, backend))); err != nil {
		return err
	}
	t := &table{header: []string{"PROXY", "SERVICE", "ADDRESS", "PLAINTEXT", "REQUESTS", "FOREIGN TLS", "SINCE", "LAST SEEN"}}
	for i := range state.Items {
		in := &state.Items[i]
		cells := []string{in.Proxy, in.Service, in.Address, "-", "-", "-", "-", "-"}
		if !in.Since.IsZero() {
			number := func(n uint64) string { return strconv.FormatUint(n, 10) }
			cells = []string{
				in.Proxy, in.Service, in.Address, number(in.Connections), number(in.Requests), number(in.ForeignTLS),
				age(in.Since, now), age(in.LastSeen, now),
			}
		}
		t.rows = append(t.rows, cells)
	}
	return t.write(w)
}
