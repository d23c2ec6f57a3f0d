package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectCommand() *cobra.Command {
	cmd := group("inspect", "Show what runs in a mesh", c.inspectConnection(), c.inspectControlPlanes(), c.inspectDataplane(), c.inspectDataplanes(), c.inspectIdentity(),
		c.inspectMesh(), c.inspectMeshes(), c.inspectMTLS(), c.inspectServices(), c.inspectTokens())
	cmd.AddCommand(c.inspectPolicies()...)
	cmd.Long = `Show what runs in a mesh: which proxies there are, who they are and until when, who may reach whom, and why not.

All of it is what control planes see, and what proxies have told them that they do. Nothing is changed.`
	cmd.Example = `  kumactl inspect dataplanes
  kumactl inspect identity web-1
  kumactl inspect connection --from web --to backend
  kumactl inspect mesh default`
	return cmd
}

func (c *cli) inspectDataplanes() *cobra.Command {
	var mesh string
	var output choice
	var gateway bool
	tags := pairs{}
	cmd := &cobra.Command{
		Use:   "dataplanes",
		Short: "Show the data plane proxies, and what the control plane saw of each",
		Long: `Show the data plane proxies, and what the control plane saw of each.

STATUS is Online while the stream of the agent is open. NOTES has the words with which an Envoy refused its configuration,
and why a certificate could not be made: it is the first thing to look at when a proxy does not do what it should.`,
		Example: `  kumactl inspect dataplanes --mesh default
  kumactl inspect dataplanes --tag kuma.io/service=web -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			all, err := cp.overviews(cmd.Context(), mesh)
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(o policy.DataplaneOverview) bool {
				return !hasTags(&o, tags) || gateway && o.Dataplane.Networking.Gateway == nil
			})
			if output.value != "table" {
				return printAs(c.stdout, output.value, listing[policy.DataplaneOverview]{Total: len(all), Items: all})
			}
			return overviewTable(all, time.Now()).write(c.stdout)
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	cmd.Flags().Var(tags, "tag", "show only proxies that have the tag with this value; may be repeated")
	cmd.Flags().BoolVar(&gateway, "gateway", false, "show only gateways")
	return cmd
}

// overviews reads all pages.
func (c *client) overviews(ctx context.Context, mesh string) ([]policy.DataplaneOverview, error) {
	kind, _ := policy.KindOf(policy.TypeDataplane)
	path, err := listPath(kind, mesh)
	if err != nil {
		return nil, err
	}
	return allPages[policy.DataplaneOverview](ctx, c, path+"/_overview")
}

// tagsOf are the tags of the proxy over all its inbounds.
func tagsOf(o *policy.DataplaneOverview) map[string][]string {
	d := policy.Dataplane{Networking: o.Dataplane.Networking}
	return d.Tags()
}

func hasTags(o *policy.DataplaneOverview, want map[string]string) bool {
	tags := tagsOf(o)
	for k, v := range want {
		if !slices.Contains(tags[k], v) {
			return false
		}
	}
	return true
}

// overviewTable has Kuma's columns, in Kuma's order, but for the versions of dependencies: there are none here.
func overviewTable(all []policy.DataplaneOverview, now time.Time) *table {
	t := &table{header: []string{
		"MESH", "NAME", "TAGS", "STATUS", "LAST CONNECTED AGO", "LAST UPDATED AGO", "TOTAL UPDATES", "TOTAL ERRORS",
		"CERT REGENERATED AGO", "CERT EXPIRATION", "CERT REGENERATIONS", "CERT BACKEND", "SUPPORTED CERT BACKENDS",
		"KUMA-DP VERSION", "ENVOY VERSION", "NOTES",
	}}
	for i := range all {
		o := &all[i]
		status, notes := statusOf(o)
		cells := []string{o.Mesh, o.Name, formatTags(tagsOf(o)), status}
		cells = append(cells, streamCells(&o.Insight, now)...)
		cells = append(cells, certCells(o.Insight.MTLS, now)...)
		v := last(&o.Insight).Version
		cells = append(cells, orDash(v.KumaDP.Version), orDash(v.Envoy.Version), strings.Join(notes, "; "))
		t.rows = append(t.rows, cells)
	}
	return t
}

// statusOf says whether the proxy works, and why it does not.
func statusOf(o *policy.DataplaneOverview) (status string, notes []string) {
	for i := range o.Dataplane.Networking.Inbound {
		in := &o.Dataplane.Networking.Inbound[i]
		if in.Ready() {
			continue
		}
		notes = append(notes, fmt.Sprintf("inbound[port=%d,svc=%s] is not ready", in.Port, in.Service()))
	}
	if why := last(&o.Insight).Status.LastRejection; why != "" {
		notes = append(notes, why)
	}
	return string(o.Status()), notes
}

// last is the newest stream of the proxy.
func last(i *policy.DataplaneInsight) policy.Subscription {
	if len(i.Subscriptions) == 0 {
		return policy.Subscription{}
	}
	return i.Subscriptions[len(i.Subscriptions)-1]
}

func streamCells(insight *policy.DataplaneInsight, now time.Time) []string {
	var sent, rejected uint64
	for i := range insight.Subscriptions {
		total := &insight.Subscriptions[i].Status.Total
		sent += total.ResponsesSent
		rejected += total.ResponsesRejected
	}
	newest := last(insight)
	return []string{
		age(newest.ConnectTime, now), age(newest.Status.LastUpdateTime, now),
		strconv.FormatUint(sent, 10), strconv.FormatUint(rejected, 10),
	}
}

func certCells(m *policy.MTLSInsight, now time.Time) []string {
	if m == nil {
		return []string{"never", "-", "0", "-", "-"}
	}
	return []string{
		age(m.LastCertificateRegeneration, now), date(m.CertificateExpirationTime),
		strconv.Itoa(m.CertificateRegenerations), orDash(m.IssuedBackend), orDash(strings.Join(m.SupportedBackends, ",")),
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
