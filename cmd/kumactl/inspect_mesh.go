package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectMesh() *cobra.Command {
	var output choice
	var watch bool
	cmd := &cobra.Command{
		Use:   "mesh [NAME]",
		Short: "Show which CAs a mesh trusts, and how far a rotation has come",
		Long: `Show which CAs each mesh trusts, which of them signs, and how far the rotation from one to another has come. Of one
mesh it shows also until when they are, and who is waited for and why.`,
		Example: `  kumactl inspect mesh
  kumactl inspect mesh default --watch`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.names(kindOf(policy.TypeMesh), nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			show := func(ctx context.Context, w io.Writer) error { return showTrust(ctx, w, cp, args, output.value) }
			if watch {
				return c.watch(cmd.Context(), show)
			}
			return show(cmd.Context(), c.stdout)
		},
	}
	addOutputFlag(cmd, &output)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again whenever it has changed, until interrupted")
	return cmd
}

// restWatch is how often it is looked whether something has changed.
const restWatch = time.Second

// watch shows something again whenever it has changed. It ends with the context, and with the first error.
func (c *cli) watch(ctx context.Context, show func(context.Context, io.Writer) error) error {
	var last []byte
	for {
		var now bytes.Buffer
		switch err := show(ctx, &now); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if !bytes.Equal(now.Bytes(), last) {
			if last != nil {
				fmt.Fprintln(c.stdout)
			}
			last = bytes.Clone(now.Bytes())
			if _, err := c.stdout.Write(last); err != nil {
				return err
			}
		}
		select {
		case <-time.After(restWatch):
		case <-ctx.Done():
			return nil
		}
	}
}

// showTrust writes the trust of the mesh that is named, or of all.
func showTrust(ctx context.Context, w io.Writer, cp *client, names []string, output string) error {
	one := len(names) == 1
	if !one {
		meshes, err := allPages[policy.Meta](ctx, cp, "/meshes")
		if err != nil {
			return err
		}
		for i := range meshes {
			names = append(names, meshes[i].Name)
		}
	}
	all := []policy.TrustOverview{}
	for _, name := range names {
		path, err := meshPath(name)
		if err != nil {
			return err
		}
		v, err := cp.trust(ctx, path)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	switch {
	case output != "table" && one:
		return printAs(w, output, all[0])
	case output != "table":
		return printAs(w, output, listing[policy.TrustOverview]{Total: len(all), Items: all})
	}
	if err := trustTable(all).write(w); err != nil || !one {
		return err
	}
	return showAuthorities(w, &all[0])
}

func trustTable(all []policy.TrustOverview) *table {
	t := &table{header: []string{"MESH", "ENABLED", "STAGE", "SINCE", "ISSUING", "TRUSTED", "WAITS FOR"}}
	for i := range all {
		v := &all[i]
		var trusted []string
		for _, a := range v.Authorities {
			trusted = append(trusted, a.Backend)
		}
		enabled := v.Enabled
		if enabled == "" {
			enabled = "off"
		}
		t.rows = append(t.rows, []string{
			v.Mesh, enabled, orDash(string(v.Stage)), date(v.Since), orDash(v.Issuing), orDash(strings.Join(trusted, ",")), orDash(waitingFor(v.WaitsFor)),
		})
	}
	return t
}

// showAuthorities writes what there is to say of one mesh beside its row.
func showAuthorities(w io.Writer, v *policy.TrustOverview) error {
	if len(v.Authorities) > 0 {
		t := &table{header: []string{"BACKEND", "SIGNS", "TRUSTED SINCE", "ROOT ENDS", "FINGERPRINT"}}
		for _, a := range v.Authorities {
			signs := "no"
			if a.Issuing {
				signs = "yes"
			}
			t.rows = append(t.rows, []string{a.Backend, signs, date(a.Since), date(a.NotAfter), a.Fingerprint})
		}
		fmt.Fprintln(w)
		if err := t.write(w); err != nil {
			return err
		}
	}
	if v.Fault != "" {
		fmt.Fprintf(w, "\nThe backend that is enabled cannot be used: %s\n", printable(v.Fault))
	}
	if len(v.WaitsFor) == 0 {
		return nil
	}
	t := &table{header: []string{"WAITS FOR", "WHY", "UNTIL"}}
	for _, b := range v.WaitsFor {
		t.rows = append(t.rows, []string{orDash(b.Proxy), b.Why, date(b.Until)})
	}
	fmt.Fprintln(w)
	return t.write(w)
}
