package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"koguma/policy"
)

// inspectPolicies is a command for each kind of policies.
func (c *cli) inspectPolicies() []*cobra.Command {
	var all []*cobra.Command
	for _, k := range policy.Kinds() {
		if k.IsPolicy() {
			all = append(all, c.inspectPolicy(k))
		}
	}
	return all
}

func (c *cli) inspectPolicy(k policy.Kind) *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:     k.Singular + " NAME",
		Aliases: k.Singulars()[1:],
		Short:   fmt.Sprintf("Show the data plane proxies that a %s decides about", k.Type),
		Long: fmt.Sprintf(`Show the data plane proxies that a %s decides about: those whose inbounds ask it who may come
in. One of which none is shown has no effect.`, k.Type),
		Example:           fmt.Sprintf("  kumactl inspect %s web-to-backend --mesh default", k.Singular),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.names(k, &mesh),
		RunE: func(cmd *cobra.Command, args []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			path, err := pathOf(k, mesh, args[0])
			if err != nil {
				return err
			}
			all, err := allPages[policy.Meta](cmd.Context(), cp, path+"/_resources/dataplanes")
			if isNotFound(err) {
				return noneFound(k, mesh)
			} else if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.Meta]{Total: len(all), Items: all})
			}
			fmt.Fprint(c.stdout, "Affected data plane proxies:\n\n")
			for i := range all {
				fmt.Fprintf(c.stdout, "  %s\n", printable(all[i].Name))
			}
			return nil
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	return cmd
}

func (c *cli) inspectDataplane() *cobra.Command {
	var mesh string
	kind := choice{"policies", []string{"policies", "config", "config-dump", "stats", "clusters"}}
	var output choice
	cmd := &cobra.Command{
		Use:   "dataplane NAME",
		Short: "Show which policies decide about a data plane proxy",
		Long: `Show, for each inbound of a data plane proxy, which policies decide who may come in.

What its Envoy was configured with is not here, for no control plane reaches into Envoys: --type says where to ask.`,
		Example:           "  kumactl inspect dataplane backend-1 --mesh default",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.names(kindOf(policy.TypeDataplane), &mesh),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind.value != "policies" {
				return errors.New("a control plane does not reach into Envoys: ask that one's admin.sock, on its own machine, " +
					"for /config_dump, /stats or /clusters")
			}
			cp, err := c.client()
			if err != nil {
				return err
			}
			k, _ := policy.KindOf(policy.TypeDataplane)
			path, err := pathOf(k, mesh, args[0])
			if err != nil {
				return err
			}
			var all policy.MatchedPolicies[any]
			_, err = cp.call(cmd.Context(), http.MethodGet, path+"/policies", nil, nil, &all)
			switch {
			case isNotFound(err):
				return noneFound(k, mesh)
			case err != nil:
				return err
			case output.value != "table":
				return printAs(c.stdout, output.value, all)
			}
			for i := range all.Items {
				if err := c.showInbound(&all.Items[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	cmd.Flags().Var(&kind, "type", "what to show: policies; the others are refused with what to do")
	return cmd
}

// showInbound writes which policies decide about an inbound.
func (c *cli) showInbound(in *policy.MatchedInbound[any]) error {
	fmt.Fprintf(c.stdout, "%s %s(%s):\n", strings.ToUpper(printable(in.Type)), printable(in.Name), printable(in.Service))
	for _, t := range slices.Sorted(maps.Keys(in.MatchedPolicies)) {
		fmt.Fprintf(c.stdout, "  %s\n", printable(string(t)))
		for _, p := range in.MatchedPolicies[t] {
			name, _ := p.(map[string]any)["name"].(string)
			fmt.Fprintf(c.stdout, "    %s\n", printable(name))
		}
	}
	_, err := fmt.Fprintln(c.stdout)
	return err
}
