package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// newControlPlane is what the flags say of a control plane to add.
type newControlPlane struct {
	name                 string
	target               target
	admin                adminAPI
	headers              map[string]string
	authType             string
	authConf             map[string]string
	overwrite, skipCheck bool
}

func (c *cli) addControlPlane() *cobra.Command {
	n := new(newControlPlane)
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a control plane and make it the active one",
		Long: `Add a control plane and make it the active one.

On its own machine a control plane needs no credentials. From elsewhere it takes changes, and shows secrets, by a client
certificate only ('kumactl generate tls-certificate --type=client' makes one):

- At its API under TLS, https://HOST:5682, with --client-cert-file and --client-key-file.
- At its admin server, with --admin-client-cert and --admin-client-key. The address is that of the API, http://HOST:5681,
  which is asked where the admin server is. Everything else goes to the admin server, under TLS.

The server is verified by --ca-cert-file, else by the CAs of the system, before anything is sent to it. An admin server that
neither of them knows is taken for the right one when it is added; the fingerprint of its certificate is shown, and from
then on no other certificate is accepted.`,
		Example: `  kumactl config control-planes add --name prod --address https://cp.example:5682 \
    --ca-cert-file cp.pem --client-cert-file me.pem --client-key-file me.key

  kumactl config control-planes add --name prod --address http://cp.example:5681 \
    --admin-client-cert me.pem --admin-client-key me.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.add(cmd.Context(), n) },
	}
	flags := cmd.Flags()
	flags.StringVar(&n.name, "name", "", "what to call the control plane (required)")
	flags.StringVar(&n.target.URL, "address", "", "the URL of its API, such as "+defaultAddress+" (required)")
	flags.StringVar(&n.target.ClientCertFile, "client-cert-file", "", "a file with the certificate by which the API knows you")
	flags.StringVar(&n.target.ClientKeyFile, "client-key-file", "", "a file with its key")
	flags.StringVar(&n.admin.ClientCert, "admin-client-cert", "", "a file with the certificate by which the admin server knows you")
	flags.StringVar(&n.admin.ClientKey, "admin-client-key", "", "a file with its key")
	flags.StringVar(&n.target.CACertFile, "ca-cert-file", "", "a file with the CA of the server's certificate, or with that itself (default: the CAs of the system)")
	flags.BoolVar(&n.target.SkipVerify, "skip-verify", false, "do not verify the server; no credentials are sent to it then")
	flags.StringToStringVar(&n.headers, "headers", nil, "headers to send with each request, such as key=value")
	flags.StringVar(&n.authType, "auth-type", "", "refused: there are no tokens of users, but client certificates")
	flags.StringToStringVar(&n.authConf, "auth-conf", nil, "refused, as --auth-type")
	flags.BoolVar(&n.overwrite, "overwrite", false, "take the place of the control plane that has this name")
	flags.BoolVar(&n.skipCheck, "skip-check", false, "do not ask whether a control plane answers there")
	require(cmd, "name", "address")
	return cmd
}

// add adds the control plane, if it answers as one.
func (c *cli) add(ctx context.Context, n *newControlPlane) error {
	cfg, err := c.readConfig()
	if err != nil {
		return err
	}
	if strings.TrimSpace(n.name) == "" || strings.ContainsFunc(n.name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("--name %q: give the control plane a name that can be printed", n.name)
	}
	if n.authType != "" || len(n.authConf) > 0 {
		return errors.New("--auth-type, --auth-conf: control planes know no tokens of users: give --client-cert-file and --client-key-file")
	}
	if err := n.vacant(cfg); err != nil {
		return err
	}
	t := n.target
	if n.admin != (adminAPI{}) {
		t.admin = &n.admin
	}
	for _, key := range slices.Sorted(maps.Keys(n.headers)) {
		t.Headers = append(t.Headers, httpHeader{key, n.headers[key]})
	}
	if err := cmp.Or(t.check(), t.absolute()); err != nil {
		return err
	}
	if !n.skipCheck {
		if err := c.meet(ctx, &t, cfg.fingerprintOf(n.name)); err != nil {
			return fmt.Errorf("%w (--skip-check adds it unseen)", err)
		}
	}
	err = c.changeConfig(func(cfg *config) error { // which may not be the one from before
		if err := n.vacant(cfg); err != nil {
			return err
		}
		cfg.add(n.name, t)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "added Control Plane %q\nswitched active Control Plane to %q\n", n.name, n.name)
	return err
}

// vacant reports that there is a control plane of that name which is to stay.
func (n *newControlPlane) vacant(cfg *config) error {
	if cfg.controlPlane(n.name) != nil && !n.overwrite {
		return fmt.Errorf("there is a control plane %q already: --overwrite puts this one in its place", n.name)
	}
	return nil
}

// meet asks at the address whether it is a control plane of ours, and notes by which certificate its admin server is to
// be known if nobody else vouches for that. before is the one noted earlier, "" if there was none.
func (c *cli) meet(ctx context.Context, t *target, before string) error {
	if t.admin != nil && t.CACertFile == "" {
		if err := c.note(ctx, t, before); err != nil {
			return err
		}
	}
	cp, err := c.clientOf(*t)
	if err != nil {
		return err
	}
	server, err := cp.index(ctx)
	if err != nil {
		return err
	}
	if server.Product != product {
		return fmt.Errorf("%s is no control plane of a mesh: it calls itself %q", t.URL, server.Product)
	}
	return nil
}

// note notes the certificate of an admin server that is met for the first time.
func (c *cli) note(ctx context.Context, t *target, before string) error {
	base, err := parseAddress(t.URL)
	if err != nil {
		return err
	}
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	met := &adminTransport{api: newTransport(nil), base: base}
	seen, err := met.stranger(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	t.admin.ServerFingerprint = seen
	switch {
	case seen == "" || seen == before:
	case before != "":
		c.warn("the admin server at %s now has the certificate with SHA-256 %s; it was %s before", met.server, seen, before)
	default:
		fmt.Fprintf(c.stderr, "Note: no CA vouches for the admin server at %s. From now on it is known by its certificate, SHA-256\n  %s\n"+
			"Compare that with what 'kumactl generate tls-certificate' printed, or kuma-cp logged; or add it with --ca-cert-file.\n", met.server, seen)
	}
	return nil
}

// fingerprintOf is by which certificate the admin server of a control plane is known, "" if it is not.
func (cfg *config) fingerprintOf(name string) string {
	i := slices.IndexFunc(cfg.Contexts, func(c kumaContext) bool {
		return c.ControlPlane == name && c.Credentials != nil && c.Credentials.AdminAPI != nil
	})
	if i < 0 {
		return ""
	}
	return cfg.Contexts[i].Credentials.AdminAPI.ServerFingerprint
}
