package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"koguma/token"
)

func (c *cli) generateCommand() *cobra.Command {
	cmd := group("generate", "Generate credentials", c.generateDataplaneToken(), c.generatePublicKey(), c.generateSigningKey(), c.generateTLSCertificate())
	cmd.Long = `Generate credentials: for proxies (dataplane-token), for who makes tokens elsewhere (signing-key, public-key), and for the API
of a control plane and who administers it (tls-certificate).`
	return cmd
}

// tokenRequest is the body of POST /tokens/dataplane. Without ValidFor the control plane decides.
type tokenRequest struct {
	Name     string              `json:"name,omitempty"`
	Mesh     string              `json:"mesh"`
	Tags     map[string][]string `json:"tags,omitempty"`
	Type     string              `json:"type,omitempty"`
	ValidFor string              `json:"validFor,omitempty"`
}

func (c *cli) generateDataplaneToken() *cobra.Command {
	var req tokenRequest
	var life validity
	var keyPath, kid string
	tags := tagValues{}
	cmd := &cobra.Command{
		Use:   "dataplane-token",
		Short: "Generate the token by which a data plane proxy proves who it is",
		Long: `Generate the token by which a data plane proxy proves who it is.

Whatever is not given is not checked: a token with a mesh and nothing else serves for every proxy of that mesh.

The control plane makes it, unless there is a --signing-key-path: then it is made here, and no control plane is asked.
Such a token does not say which control plane to trust, so kuma-dp needs --ca-cert-file beside it, unless a control
plane on the same machine has left its CA certificate in $HOME/.kuma.`,
		Example: `  kumactl generate dataplane-token --name web-1 --mesh default \
    --tag kuma.io/service=web --valid-for 720h > web-1.token

  # with a key whose public half the control plane knows as key-1
  kumactl generate dataplane-token --name web-1 --valid-for 720h \
    --signing-key-path key-private.pem --kid key-1 > web-1.token`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.Tags, req.ValidFor = tags, life.String()
			var raw token.Raw
			var err error
			if cmd.Flags().Changed(keyPathFlag) {
				raw, err = c.issueOffline(req, time.Duration(life), keyPath, kid)
			} else {
				raw, err = c.issue(cmd.Context(), req)
			}
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.stdout, string(raw))
			return err
		},
	}
	flags := cmd.Flags()
	addMeshFlag(cmd, &req.Mesh)
	flags.StringVar(&req.Name, "name", "", "the name of the one proxy that the token is for")
	flags.Var(tags, "tag", "a tag, and all values that the proxy may have for it; may be repeated")
	flags.StringVar(&req.Type, "proxy-type", "", `the type of the proxy, such as "dataplane"`)
	flags.StringVar(&req.Type, "type", "", "the same as --proxy-type")
	flags.Var(&life, "valid-for", `how long the token is valid, such as "720h" (default: ten years)`)
	addKeyPathFlag(cmd, &keyPath)
	flags.StringVar(&kid, "kid", "", "by which name the control plane knows the key of --signing-key-path")
	complete(cmd, "kid")
	complete(cmd, "proxy-type", token.TypeDataplane, token.TypeIngress, token.TypeEgress)
	complete(cmd, "type", token.TypeDataplane, token.TypeIngress, token.TypeEgress)
	cmd.MarkFlagsMutuallyExclusive("proxy-type", "type")
	cmd.MarkFlagsRequiredTogether(keyPathFlag, "kid")
	return cmd
}

// issue has the control plane make a token.
func (c *cli) issue(ctx context.Context, req tokenRequest) (token.Raw, error) {
	cp, err := c.client()
	if err != nil {
		return "", err
	}
	return cp.dataplaneToken(ctx, req)
}

// dataplaneToken has the control plane issue a token.
func (c *client) dataplaneToken(ctx context.Context, req tokenRequest) (token.Raw, error) {
	_, answer, err := c.send(ctx, http.MethodPost, "/tokens/dataplane", nil, req)
	if err != nil {
		return "", err
	}
	raw := token.Raw(answer)
	if _, err := token.Inspect(raw); err != nil {
		return "", fmt.Errorf("%s does not answer with a token: %w", c.base, err)
	}
	return raw, nil
}
