package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectMeshes() *cobra.Command {
	var output choice
	cmd := &cobra.Command{
		Use:   "meshes",
		Short: "Show how many proxies and policies each mesh has",
		Long: `Show how many proxies each mesh has, and how many of them are online, and how many policies of each type: the
least that says whether a mesh is well.`,
		Example: "  kumactl inspect meshes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			all, err := allPages[policy.MeshInsight](cmd.Context(), cp, "/mesh-insights")
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.MeshInsight]{Total: len(all), Items: all})
			}
			return meshTable(all).write(c.stdout)
		},
	}
	addOutputFlag(cmd, &output)
	return cmd
}

// meshTable has a column for each type of policies, the older types first: where Kuma's clients look for them.
func meshTable(all []policy.MeshInsight) *table {
	t := &table{header: []string{"MESH", "DATAPLANES"}}
	var policies []policy.Type
	for _, byTargetRef := range []bool{false, true} {
		for _, d := range policy.Descriptions() {
			if d.Policy != nil && d.Policy.IsTargetRef == byTargetRef {
				policies = append(policies, d.Name)
				t.header = append(t.header, strings.ToUpper(d.PluralDisplayName))
			}
		}
	}
	for i := range all {
		cells := []string{all[i].Name, online(all[i].Dataplanes)}
		for _, p := range policies {
			cells = append(cells, strconv.Itoa(all[i].Policies[p].Total))
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

// online is how many of the proxies are.
func online(c policy.DataplaneCount) string { return fmt.Sprintf("%d/%d", c.Online, c.Total) }

func (c *cli) inspectServices() *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:   "services",
		Short: "Show the services of a mesh, and how many of their proxies are online",
		Long: `Show the services of a mesh, and how many of their proxies are online. A service is there when a Dataplane has an inbound with
its tag; it is Partially degraded while some of its proxies are not online, and Offline when none is.`,
		Example: "  kumactl inspect services --mesh default",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, path, err := c.inMesh(mesh)
			if err != nil {
				return err
			}
			all, err := allPages[policy.ServiceInsight](cmd.Context(), cp, path+"/service-insights")
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.ServiceInsight]{Total: len(all), Items: all})
			}
			t := &table{header: []string{"SERVICE", "STATUS", "DATAPLANES"}}
			for i := range all {
				t.rows = append(t.rows, []string{all[i].Name, string(all[i].Dataplanes.Status()), online(all[i].Dataplanes)})
			}
			return t.write(c.stdout)
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	return cmd
}
