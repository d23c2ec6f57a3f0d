package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectConnection() *cobra.Command {
	var mesh, from, to string
	var port int
	var output choice
	cmd := &cobra.Command{
		Use:   "connection",
		Short: "Show whether a service or proxy reaches another, and why",
		Long: `Show whether a connection that a service or proxy opens now to another is let in, and the first thing that denies it if
not, with what to do. --from and --to are services or names of Dataplanes; where both are there it is the service, and
"service:" or "proxy:" before the name decides.

It is answered by what both proxies have acknowledged, so that it is what happens now, and what is on its way to them is
a warning. The code is 0 if all of it is allowed, and 1 if not.`,
		Example: `  kumactl inspect connection --from web --to backend
  kumactl inspect connection --from proxy:web-1 --to proxy:backend-2 --port 8080 -o yaml`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			found, err := cp.connection(cmd.Context(), mesh, from, to, port)
			if err != nil {
				return err
			}
			if output.value == "table" {
				err = writeConnection(c.stdout, found)
			} else {
				err = printAs(c.stdout, output.value, found)
			}
			if err == nil && found.Verdict != policy.Allowed {
				err = fmt.Errorf("%s to %s: %s", found.From, found.To, found.Verdict)
			}
			return err
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	cmd.Flags().StringVar(&from, "from", "", "the service or proxy that dials (required)")
	cmd.Flags().StringVar(&to, "to", "", "the service or proxy that is dialled (required)")
	cmd.Flags().IntVar(&port, "port", 0, "only the inbound at this port (default all)")
	require(cmd, "from", "to")
	return cmd
}

// connection is whether one service or proxy reaches another.
func (c *client) connection(ctx context.Context, mesh, from, to string, port int) (*policy.Connection, error) {
	path, err := meshPath(mesh)
	if err != nil {
		return nil, err
	}
	query := url.Values{"from": {from}, "to": {to}}
	if port != 0 {
		query.Set("port", strconv.Itoa(port))
	}
	var found policy.Connection
	if _, err := c.call(ctx, http.MethodGet, path+"/connections", query, nil, &found); err != nil {
		return nil, err
	}
	return &found, nil
}

// writeConnection writes the verdict, a row for each pair, then what to do, and the permissions that would help, ready to be
// applied.
func writeConnection(w io.Writer, c *policy.Connection) error {
	fmt.Fprintf(w, "%s to %s in mesh %s: %s\n", printable(c.From.String()), printable(c.To.String()), printable(c.Mesh), c.Verdict)
	for _, n := range c.Notes {
		fmt.Fprintf(w, "Note: %s\n", printable(n))
	}
	if len(c.Pairs) > 0 {
		t := &table{header: []string{"FROM", "AS", "TO", "SERVICE", "PORT", "VERDICT", "CAUSE", "WHY"}}
		for i := range c.Pairs {
			t.rows = append(t.rows, pairRows(&c.Pairs[i])...)
		}
		fmt.Fprintln(w)
		if err := t.write(w); err != nil {
			return err
		}
	}
	if c.More > 0 {
		fmt.Fprintf(w, "and %d more pairs\n", c.More)
	}
	return writeAdvice(w, c)
}

// pairRows are the row of a pair, and one for each warning.
func pairRows(p *policy.ConnectionPair) [][]string {
	verdict := policy.Denied
	if p.Allowed {
		verdict = policy.Allowed
	}
	rows := [][]string{{p.From, p.As, p.To, p.Service, strconv.Itoa(p.Port), string(verdict), p.Cause.Code, p.Cause.Why}}
	for _, warning := range p.Warnings {
		rows = append(rows, []string{"", "", "", "", "", "warning", warning.Code, warning.Why})
	}
	return rows
}

// writeAdvice writes what to do, each thing once, and the permissions.
func writeAdvice(w io.Writer, c *policy.Connection) error {
	var causes []policy.Cause
	if c.Cause != nil {
		fmt.Fprintf(w, "%s: %s\n", c.Cause.Code, printable(c.Cause.Why))
		causes = append(causes, *c.Cause)
	}
	for i := range c.Pairs {
		causes = append(append(causes, c.Pairs[i].Cause), c.Pairs[i].Warnings...)
	}
	var said, permissions []string
	for _, cause := range causes {
		if line := cause.Code + ": " + cause.Next; cause.Next != "" && !slices.Contains(said, line) {
			said = append(said, line)
			fmt.Fprintf(w, "\nNext, for %s", printable(line))
		}
		if p := cause.Permission; p != "" && !slices.Contains(permissions, p) {
			permissions = append(permissions, p)
		}
	}
	if len(said) > 0 {
		fmt.Fprintln(w)
	}
	if len(permissions) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n# for kumactl apply -f -\n%s", printableText(strings.Join(permissions, "---\n")))
	return err
}
