package main

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"koguma/token"
)

func (c *cli) generateSigningKey() *cobra.Command {
	format := choice{"pem-base64", []string{"pem-base64", "pem"}}
	cmd := &cobra.Command{
		Use:   "signing-key",
		Short: "Generate a key that signs data plane tokens",
		Long: `Generate a key that signs data plane tokens: RSA of 2048 bits, private. It is made here; no control plane is asked.

In base64, which is the default, it is what the "data" of a Secret takes.`,
		Example: `  # the second key of a mesh (or have it all done by kumactl rotate signing-key)
  echo "
  type: Secret
  mesh: default
  name: dataplane-token-signing-key-default-2
  data: {{ key }}" | kumactl apply --var key=$(kumactl generate signing-key) -f -

  # a key that no control plane has
  kumactl generate signing-key --format=pem > key-private.pem
  kumactl generate public-key --signing-key-path=key-private.pem > key-public.pem`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			text, err := token.NewKeyPEM()
			if err != nil {
				return err
			}
			if format.value == "pem-base64" {
				text = append(base64.StdEncoding.AppendEncode(nil, text), '\n')
			}
			_, err = c.stdout.Write(text)
			return err
		},
	}
	cmd.Flags().Var(&format, "format", "how to print it: "+format.words())
	complete(cmd, "format", format.of...)
	return cmd
}

func (c *cli) generatePublicKey() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "public-key",
		Short: "Print the public half of a key that signs data plane tokens",
		Long: `Print the public half of a key that signs data plane tokens, by which a control plane verifies them without being
able to make any. It is no secret. No control plane is asked.`,
		Example:           `  kumactl generate public-key --signing-key-path=key-private.pem > key-public.pem`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			key, err := c.readSigningKey(path)
			if err != nil {
				return err
			}
			_, err = c.stdout.Write(token.EncodePublicKey(&key.PublicKey))
			return err
		},
	}
	addKeyPathFlag(cmd, &path)
	require(cmd, keyPathFlag)
	return cmd
}

const keyPathFlag = "signing-key-path"

func addKeyPathFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, keyPathFlag, "", "a file with the private key in PEM, or - for stdin")
}

func (c *cli) readSigningKey(path string) (*rsa.PrivateKey, error) {
	text, err := c.readOne(path)
	if err != nil {
		return nil, err
	}
	key, err := token.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
