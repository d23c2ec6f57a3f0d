package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) getCommand() *cobra.Command {
	var mesh string
	var output choice
	cmd := group("get", "Show resources")
	cmd.Long = `Show resources: what was applied, as the control plane keeps it. What became of it is shown by kumactl inspect.

The singular shows one, by its name, the plural all. -o yaml prints what kumactl apply takes.`
	cmd.Example = `  kumactl get meshes
  kumactl get dataplanes --mesh default
  kumactl get traffic-permission web-to-backend --mesh default -o yaml`
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	for _, kind := range policy.Kinds() {
		cmd.AddCommand(c.getOne(kind, &mesh, &output), c.getList(kind, &mesh, &output))
	}
	return cmd
}

func (c *cli) getOne(kind policy.Kind, mesh *string, output *choice) *cobra.Command {
	return &cobra.Command{
		Use:     kind.Singular + " NAME",
		Aliases: kind.Singulars()[1:],
		Short:   fmt.Sprintf("Show a %s", kind.Type),
		Long: fmt.Sprintf(`Show a %s, by its name. With -o yaml it is printed as kumactl apply takes it.

Keys that sign tokens or certificates are not shown: the value of a secret that holds one is left out.`, kind.Type),
		Example: fmt.Sprintf(`  kumactl get %[1]s NAME
  kumactl get %[1]s NAME -o yaml`, kind.Singular),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.names(kind, mesh),
		RunE: func(cmd *cobra.Command, args []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			r, err := cp.get(cmd.Context(), kind, *mesh, args[0])
			if isNotFound(err) {
				return noneFound(kind, *mesh)
			} else if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, r)
			}
			return resourceTable(kind, []policy.Resource{r}, time.Now()).write(c.stdout)
		},
	}
}

// noneFound is an error in Kuma's words.
func noneFound(kind policy.Kind, mesh string) error {
	text := "No resources found"
	if kind.InMesh {
		text += " in " + mesh + " mesh"
	}
	return errors.New(text)
}

func (c *cli) getList(kind policy.Kind, mesh *string, output *choice) *cobra.Command {
	var size int
	var offset string
	cmd := &cobra.Command{
		Use:     kind.Plural,
		Aliases: kind.Plurals()[1:],
		Short:   fmt.Sprintf("Show all of type %s", kind.Type),
		Long: fmt.Sprintf(`Show all resources of the type %s, by name, a page at a time.
Where there are more, the last line says how to go on.`,
			kind.Type),
		Example: fmt.Sprintf(`  kumactl get %[1]s
  kumactl get %[1]s --size 1000 -o json`, kind.Plural),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if cmd.Flags().Changed("size") {
				query.Set("size", strconv.Itoa(size))
			}
			if offset != "" {
				query.Set("offset", offset)
			}
			items, total, next, err := cp.list(cmd.Context(), kind, *mesh, query)
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.Resource]{Total: total, Items: items})
			}
			if err := resourceTable(kind, items, time.Now()).write(c.stdout); err != nil {
				return err
			}
			if next != "" {
				_, err = fmt.Fprintf(c.stdout, "\nRerun command with --offset=%s argument to retrieve more resources\n", printable(next))
			}
			return err
		},
	}
	cmd.Flags().IntVar(&size, "size", 0, "how many to show at most (default: as many as the control plane gives at once)")
	cmd.Flags().StringVar(&offset, "offset", "", "where to go on, as the page before said")
	return cmd
}

// resourceTable has the columns of the kind.
func resourceTable(kind policy.Kind, items []policy.Resource, now time.Time) *table {
	t := &table{header: header(kind)}
	for _, r := range items {
		meta := r.Metadata()
		cells := []string{meta.Name}
		if kind.InMesh {
			cells = []string{meta.Mesh, meta.Name}
		}
		switch r := r.(type) {
		case *policy.Mesh:
			cells = append(cells, mtlsOf(r))
		case *policy.Dataplane:
			n := &r.Networking
			cells = append(cells, formatTags(r.Tags()), cmp.Or(n.AdvertisedAddress, n.Address))
		}
		t.rows = append(t.rows, append(cells, age(meta.ModificationTime, now)))
	}
	return t
}

func header(kind policy.Kind) []string {
	switch {
	case kind.Type == policy.TypeMesh:
		return []string{"NAME", "mTLS", "AGE"}
	case kind.Type == policy.TypeDataplane:
		return []string{"MESH", "NAME", "TAGS", "ADDRESS", "AGE"}
	case kind.InMesh:
		return []string{"MESH", "NAME", "AGE"}
	default:
		return []string{"NAME", "AGE"}
	}
}

// mtlsOf is the type and the name of the backend that is enabled.
func mtlsOf(m *policy.Mesh) string {
	if b := m.Enabled(); b != nil {
		return b.Type + "/" + b.Name
	}
	return "off"
}
