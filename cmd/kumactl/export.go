package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

// The profiles of an export, by Kuma's names.
const (
	profileFederation             = "federation"
	profileFederationWithPolicies = "federation-with-policies"
	profileAll                    = "all"
	profileNoDataplanes           = "no-dataplanes"
)

func (c *cli) exportCommand() *cobra.Command {
	profile := choice{profileFederation, []string{profileFederation, profileFederationWithPolicies, profileAll, profileNoDataplanes}}
	format := choice{"universal", []string{"universal", "kubernetes"}}
	var namespace string
	var admin bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print all resources, for another control plane to take",
		Long: `Print all resources as YAML, which 'kumactl apply -f -' puts into another control plane.

The profiles are:
  federation                what makes up the meshes, but no policies by target reference, and no Dataplanes
  federation-with-policies  the same with those policies
  no-dataplanes             everything but Dataplanes
  all                       everything

The first two have the secrets too, the others only with --include-admin. Keys are never given out, so they are not in it:
what is missing is said on stderr, and in comments.`,
		Example: `  kumactl export > meshes.yaml
  kumactl export --profile all --include-admin | kumactl --context other apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case format.value == "kubernetes":
				return errors.New("there are no resources of Kubernetes here: use --format universal")
			case namespace != "":
				return errors.New("--system-namespace is for --format kubernetes, which there is not here")
			}
			cp, err := c.client()
			if err != nil {
				return err
			}
			e := &export{cp: cp, profile: profile.value, admin: admin}
			if err := e.collect(cmd.Context()); err != nil {
				return err
			}
			return c.writeExport(cmd.Context(), e)
		},
	}
	flags := cmd.Flags()
	flags.VarP(&profile, "profile", "p", "what to print: "+profile.words())
	flags.VarP(&format, "format", "f", "in which form: universal")
	flags.StringVarP(&namespace, "system-namespace", "n", "", "not for universal")
	flags.BoolVarP(&admin, "include-admin", "a", false, "with secrets, which the federation profiles have anyway")
	complete(cmd, "profile", profile.of...)
	return cmd
}

// export is what is being exported.
type export struct {
	cp      *client
	profile string
	admin   bool // secrets too

	resources []policy.Resource
	leftOut   []string // what is missing, and what to do about it
}

// collect reads everything before anything is written, so that there is no half of an export.
func (e *export) collect(ctx context.Context) error {
	var types struct {
		Resources []policy.Description `json:"resources"`
	}
	if _, err := e.cp.call(ctx, http.MethodGet, "/_resources", nil, nil, &types); err != nil {
		return err
	}
	for _, d := range inExportOrder(types.Resources) {
		kind, ok := policy.KindOf(d.Name)
		switch {
		case d.Policy == nil && d.ReadOnly && !ok: // what control planes sum up
		case !ok:
			e.leaveOut("everything of type %s: this kumactl does not know it; use that of the control plane's version", d.Name)
		case e.wants(kind, &d):
			if err := e.add(ctx, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// inExportOrder sorts types by which of their resources have to be there first.
func inExportOrder(all []policy.Description) []policy.Description {
	rank := map[policy.Type]int{policy.TypeMesh: -2, policy.TypeSecret: -1, policy.TypeDataplane: 1, policy.TypeGlobalSecret: 2}
	slices.SortStableFunc(all, func(a, b policy.Description) int { return cmp.Compare(rank[a.Name], rank[b.Name]) })
	return all
}

// wants reports whether the profile has that type.
func (e *export) wants(k policy.Kind, d *policy.Description) bool {
	federation := e.profile == profileFederation || e.profile == profileFederationWithPolicies
	switch {
	case federation && !d.IncludeInFederation, k.Secret && !federation && !e.admin:
		return false
	case e.profile == profileFederation && d.Policy != nil && d.Policy.IsTargetRef:
		return false
	}
	return e.profile != profileNoDataplanes || k.Type != policy.TypeDataplane
}

// add reads all resources of a kind.
func (e *export) add(ctx context.Context, k policy.Kind) error {
	items, err := allPages[any](ctx, e.cp, "/"+k.Path)
	if err != nil {
		return err
	}
	session := 0
	for _, item := range items {
		r, err := readStrictly(item)
		if err != nil {
			return fmt.Errorf("something of /%s cannot be exported: %w", k.Path, err)
		}
		switch {
		case r.Metadata().Labels["koguma.io/lifetime"] == "session":
			session++
			continue
		case k.Secret:
			if r, err = e.secret(ctx, k, r.Metadata()); err != nil {
				return err
			}
		}
		if r != nil {
			m := r.Metadata()
			m.CreationTime, m.ModificationTime = time.Time{}, time.Time{}
			e.resources = append(e.resources, r)
		}
	}
	if session > 0 {
		e.leaveOut("%d Dataplanes that agents have brought along: they come and go with their agents", session)
	}
	return nil
}

// readStrictly is the resource in an answer. Unlike [client.list] it does not pass over what it does not know: that would be
// missing in the export, and nobody would know.
func readStrictly(item any) (policy.Resource, error) {
	text, err := policy.Encode(item)
	if err != nil {
		return nil, err
	}
	return policy.ParseSecret(text)
}

// secret is a secret with its data, nil if that cannot be had, or would be refused by another control plane.
func (e *export) secret(ctx context.Context, k policy.Kind, m *policy.Meta) (policy.Resource, error) {
	r, err := e.cp.get(ctx, k, m.Mesh, m.Name)
	switch {
	case isNotFound(err):
		return nil, nil // it has gone since
	case err != nil:
		return nil, err
	}
	if why := whyLeftOut(r); why != "" {
		e.leaveOut("%s: %s", m.Key(), why)
		return nil, nil
	}
	return r, nil
}

func (e *export) leaveOut(format string, args ...any) {
	e.leftOut = append(e.leftOut, fmt.Sprintf(format, args...))
}

// writeExport writes what was collected, and what is missing, as comments and on stderr.
func (c *cli) writeExport(ctx context.Context, e *export) error {
	server, err := e.cp.index(ctx)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Product: %s, Version: %s\n", printable(server.Product), printable(server.Version))
	for _, what := range e.leftOut {
		c.warn("not exported: %s", what)
		fmt.Fprintf(&out, "# not exported: %s\n", printable(what))
	}
	for _, r := range e.resources {
		out.WriteString("---\n")
		if err := printAs(&out, "yaml", r); err != nil {
			return err
		}
	}
	if out.Len() > maxInput {
		c.warn("this is more than the %d MiB that apply takes at once: split it", maxInput>>20)
	}
	_, err = c.stdout.Write(out.Bytes())
	return err
}
