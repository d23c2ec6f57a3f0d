package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) inspectIdentity() *cobra.Command {
	var mesh string
	var output choice
	cmd := &cobra.Command{
		Use:   "identity PROXY",
		Short: "Show who a data plane proxy is, until when, and by whom",
		Long: `Show who a data plane proxy is, as this control plane sees it: its certificates, the roots that it trusts, its token, and
what became of the last renewal. PROXY is the name of its Dataplane.

What is "in use" is what the proxy has said that its Envoy has taken: the serial number is the one that a TLS handshake
with it shows. What is "pending" was sent, and not taken yet. kuma-dp tells the same from its side, at /identity beside
/ready. No token and no key is ever shown.`,
		Example: `  kumactl inspect identity web-1 --mesh default
  kumactl inspect identity web-1 -o json | jq -r '.certificates[] | select(.acked) | .serial'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.names(kindOf(policy.TypeDataplane), &mesh),
		RunE: func(cmd *cobra.Command, args []string) error {
			cp, err := c.client()
			if err != nil {
				return err
			}
			id, err := cp.identity(cmd.Context(), mesh, args[0])
			if err != nil {
				return err
			}
			if output.value != "table" {
				return printAs(c.stdout, output.value, id)
			}
			return writeIdentity(c.stdout, id, time.Now())
		},
	}
	addMeshFlag(cmd, &mesh)
	addOutputFlag(cmd, &output)
	return cmd
}

// identity is who a proxy is.
func (c *client) identity(ctx context.Context, mesh, proxy string) (*policy.ProxyIdentity, error) {
	kind, _ := policy.KindOf(policy.TypeDataplane)
	path, err := pathOf(kind, mesh, proxy)
	if err != nil {
		return nil, err
	}
	var id policy.ProxyIdentity
	if _, err := c.call(ctx, "GET", path+"/_identity", nil, nil, &id); err != nil {
		return nil, err
	}
	return &id, nil
}

// writeIdentity writes what there is as a sheet: a line for each thing, and a table for what there may be several of.
func writeIdentity(w io.Writer, id *policy.ProxyIdentity, now time.Time) error {
	sheet := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(sheet, "%s:\t%s\n", name, printable(value)) }
	line("Proxy", id.Proxy)
	line("Mesh", id.Mesh)
	line("Connected", connection(&id.ControlPlane, now))
	line("Token", tokenOf(id, now))
	line("Last renewal", renewalOf(&id.Renewal, now))
	line("Last error", errorOf(id.LastError, now))
	if err := sheet.Flush(); err != nil {
		return err
	}
	if len(id.Certificates) > 0 {
		fmt.Fprintln(w)
		if err := certificateTable(id.Certificates, now).write(w); err != nil {
			return err
		}
	}
	if len(id.Roots) > 0 {
		fmt.Fprintln(w)
		return rootTable(id.Roots, now).write(w)
	}
	return nil
}

func connection(l *policy.ControlPlaneLink, now time.Time) string {
	switch {
	case l.Connected:
		return fmt.Sprintf("to %s since %s (%s)", cmp.Or(l.InstanceID, l.Address), date(l.Since), age(l.Since, now))
	case l.Until.IsZero():
		return "never, as far as this control plane knows"
	}
	return fmt.Sprintf("no, not since %s (%s ago); the rest is what was seen until then", date(l.Until), age(l.Until, now))
}

func tokenOf(id *policy.ProxyIdentity, now time.Time) string {
	t := id.Token
	switch {
	case t == nil:
		return "-"
	case t.ID == "" && t.KeyID == "":
		return "ends " + expiry(t.ExpiresAt, now) + "; its id is for administrators"
	}
	return fmt.Sprintf("%s, key %s, ends %s", t.ID, t.KeyID, expiry(t.ExpiresAt, now))
}

func renewalOf(r *policy.Renewal, now time.Time) string {
	if r.Last.IsZero() {
		return "-"
	}
	text := fmt.Sprintf("%s (%s ago)", date(r.Last), age(r.Last, now))
	if r.Result == policy.RenewalFailed {
		text += "; the next one fails"
	}
	if r.Overdue {
		text += "; the next one is OVERDUE"
	}
	return text
}

func errorOf(e *policy.IdentityError, now time.Time) string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s ago)", e.Reason, age(e.Time, now))
}

// stateOf says whether others see it by now.
func stateOf(acked bool) string {
	if acked {
		return "in use"
	}
	return "pending"
}

func certificateTable(all []policy.IdentityCertificate, now time.Time) *table {
	t := &table{header: []string{"CERTIFICATE", "STATE", "SERIAL", "NOT BEFORE", "NOT AFTER", "ISSUER", "KEY FROM", "DNS NAMES"}}
	for i := range all {
		c := &all[i]
		t.rows = append(t.rows, []string{
			c.SPIFFEID, stateOf(c.Acked), c.Serial, date(c.NotBefore), expiry(c.NotAfter, now), issuerOf(c.Issuer), c.KeyOrigin,
			orDash(strings.Join(c.DNSNames, ",")),
		})
	}
	return t
}

func rootTable(all []policy.TrustedRoot, now time.Time) *table {
	t := &table{header: []string{"TRUSTED ROOT", "STATE", "NOT AFTER", "SHA-256"}}
	for i := range all {
		r := &all[i]
		t.rows = append(t.rows, []string{r.Subject, stateOf(r.Acked), expiry(r.NotAfter, now), r.Fingerprint})
	}
	return t
}

// issuerOf is the name of an issuer, and enough of its fingerprint to find it among the roots.
func issuerOf(i policy.Issuer) string {
	if len(i.Fingerprint) < 16 {
		return i.Subject
	}
	return i.Subject + " " + i.Fingerprint[:16]
}
