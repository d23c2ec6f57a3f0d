package main

import (
	"context"
	"net/url"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

// names has the shell offer the names of what there is of a kind, as the one argument of a command. mesh is nil for kinds that are
// in none.
func (c *cli) names(kind policy.Kind, mesh *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		in := ""
		if mesh != nil {
			in = *mesh
		}
		return c.offer(cmd.Context(), kind, in), cobra.ShellCompDirectiveNoFileComp
	}
}

// offerMeshes has the shell offer the meshes that there are for each flag --mesh.
func (c *cli) offerMeshes(cmd *cobra.Command) {
	if cmd.PersistentFlags().Lookup("mesh") != nil {
		meshes := func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return c.offer(cmd.Context(), kindOf(policy.TypeMesh), ""), cobra.ShellCompDirectiveNoFileComp
		}
		_ = cmd.RegisterFlagCompletionFunc("mesh", meshes) // it is there, and has none yet
	}
	for _, sub := range cmd.Commands() {
		c.offerMeshes(sub)
	}
}

// offerTime is how long somebody who presses TAB may have to wait.
const offerTime = 2 * time.Second

// offer is the names that there are of a kind, as far as a control plane tells them at once: none where it does not answer. A shell
// gets to see them, so what could not be a name is left out.
func (c *cli) offer(ctx context.Context, kind policy.Kind, mesh string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	cp, err := c.client()
	if err != nil {
		return nil
	}
	items, _, _, err := cp.list(ctx, kind, mesh, url.Values{"size": {"1000"}})
	if err != nil {
		return nil
	}
	var all []cobra.Completion
	name := regexp.MustCompile(`^[a-z0-9.-]+$`)
	for _, r := range items {
		if n := r.Metadata().Name; name.MatchString(n) {
			all = append(all, n)
		}
	}
	return all
}

// kindOf is a kind that there is.
func kindOf(t policy.Type) policy.Kind {
	kind, _ := policy.KindOf(t)
	return kind
}
