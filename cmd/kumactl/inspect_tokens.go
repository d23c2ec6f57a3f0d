package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectTokens() *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "Show by which token each data plane proxy is connected",
		Long: `Show by which token each data plane proxy is connected to this control plane: its id (jti), the key that signed it
(kid), when it ends, and what it is for. What is empty in the columns NAME, TAGS and TYPE does not bind the token.

ADMITTED says whether the control plane would let the proxy in by that token now. The token itself is not known to
anybody but the proxy.`,
		Example: `  kumactl inspect tokens --mesh default
  kumactl inspect tokens -o json | jq -r '.items[] | select(.kid == "1") | .proxy'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			all, err := cp.tokensInUse(cmd.Context(), mesh)
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.TokenUse]{Total: len(all), Items: all})
			}
			return tokenTable(all, time.Now()).write(c.stdout)
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	return cmd
}

// tokensInUse reads all pages.
func (c *client) tokensInUse(ctx context.Context, mesh string) ([]policy.TokenUse, error) {
	path, err := meshPath(mesh)
	if err != nil {
		return nil, err
	}
	return allPages[policy.TokenUse](ctx, c, path+"/dataplane-tokens")
}

func tokenTable(all []policy.TokenUse, now time.Time) *table {
	t := &table{header: []string{"MESH", "PROXY", "JTI", "KID", "EXPIRES", "NAME", "TAGS", "TYPE", "ADMITTED"}}
	for i := range all {
		u := &all[i]
		admitted := "yes"
		if !u.Admitted {
			admitted = "no: " + u.Reason
		}
		t.rows = append(t.rows, []string{
			u.Mesh, u.Proxy, u.ID, u.KeyID, expiry(u.ExpiresAt, now),
			orDash(u.Bounds.Name), orDash(formatTags(u.Bounds.Tags)), orDash(u.Bounds.Type), admitted,
		})
	}
	return t
}

// expiry is a moment, and how far away it is: "2026-01-02 03:04:05 (in 3h)".
func expiry(t, now time.Time) string {
	if !now.Before(t) {
		return fmt.Sprintf("%s (%s ago)", date(t), age(t, now))
	}
	return fmt.Sprintf("%s (in %s)", date(t), age(now, t))
}
