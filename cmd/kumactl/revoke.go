package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"koguma/token"
)

func (c *cli) revokeCommand() *cobra.Command {
	cmd := group("revoke", "Take credentials back", c.revokeDataplaneToken())
	cmd.Long = `Take credentials back, before they end by themselves. Who was let in by one is out of the mesh within a second.`
	return cmd
}

// revocationRequest is the body of POST /tokens/dataplane/revocations.
type revocationRequest struct {
	Mesh string   `json:"mesh"`
	IDs  []string `json:"ids"`
}

// revocationAnswer is what came of it.
type revocationAnswer struct {
	Added int `json:"added"`
	Total int `json:"total"`
}

func (c *cli) revokeDataplaneToken() *cobra.Command {
	var req revocationRequest
	var file string
	cmd := &cobra.Command{
		Use:   "dataplane-token",
		Short: "Take a data plane token back",
		Long: `Take a data plane token back: its id is added to the list of revoked tokens of the mesh, the Secret
dataplane-token-revocations-MESH, which keeps what it has.

Whoever is connected by that token is cut off within a second. The id is the claim "jti" of the token; kumactl inspect
tokens shows those that are in use. With --token-file the token is read here, and nothing but its id leaves this machine.`,
		Example: `  kumactl revoke dataplane-token --jti 0e120ec9-6b42-495d-9758-07b59fe86fb9 --mesh default
  kumactl revoke dataplane-token --token-file web-1.token
  kumactl revoke dataplane-token --token-file - < web-1.token`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if err := c.readTokenID(&req, file, cmd.Flags().Changed("mesh")); err != nil {
					return err
				}
			}
			return c.revoke(cmd.Context(), req)
		},
	}
	addMeshFlag(cmd, &req.Mesh)
	cmd.Flag("mesh").Usage = "the mesh (with --token-file: that of the token)"
	cmd.Flags().StringArrayVar(&req.IDs, "jti", nil, "the id of the token; may be repeated")
	cmd.Flags().StringVar(&file, "token-file", "", "a file with the token, or - for stdin")
	complete(cmd, "jti")
	cmd.MarkFlagsOneRequired("jti", "token-file")
	cmd.MarkFlagsMutuallyExclusive("jti", "token-file")
	return cmd
}

// readTokenID takes mesh and id from the token in a file. A mesh that was asked for must be that of the token.
func (c *cli) readTokenID(req *revocationRequest, file string, asked bool) error {
	text, err := c.readOne(file)
	if err != nil {
		return err
	}
	claims, err := token.Inspect(token.Raw(bytes.TrimSpace(text)))
	switch {
	case err != nil:
		return fmt.Errorf("%s holds no data plane token: %w", file, err)
	case claims.Mesh == "":
		return fmt.Errorf("the token in %s is for no mesh, so it opens nothing", file)
	case asked && claims.Mesh != req.Mesh:
		return fmt.Errorf("the token in %s is for mesh %q, not %q: leave --mesh out", file, claims.Mesh, req.Mesh)
	}
	req.Mesh, req.IDs = claims.Mesh, []string{claims.ID}
	return nil
}

func (c *cli) revoke(ctx context.Context, req revocationRequest) error {
	var wrong []error
	for i, id := range req.IDs { // here, so that a token that was given by mistake stays here
		if err := token.ValidID(id); err != nil {
			wrong = append(wrong, fmt.Errorf("the id of token %d cannot be on the list: %w", i+1, err))
		}
	}
	if wrong != nil {
		return errors.Join(wrong...)
	}
	cp, err := c.client()
	if err != nil {
		return err
	}
	var answer revocationAnswer
	if _, err := cp.call(ctx, http.MethodPost, "/tokens/dataplane/revocations", nil, req, &answer); err != nil {
		return err
	}
	switch {
	case answer.Added == 0:
		fmt.Fprintf(c.stdout, "nothing to do: on the list of mesh %q before\n", req.Mesh)
	case answer.Added == 1:
		fmt.Fprintf(c.stdout, "revoked 1 token of mesh %q\n", req.Mesh)
	default:
		fmt.Fprintf(c.stdout, "revoked %d tokens of mesh %q\n", answer.Added, req.Mesh)
	}
	_, err = fmt.Fprintf(c.stdout, "whoever is connected by a revoked token is cut off within a second; the list has %d now\n", answer.Total)
	return err
}
