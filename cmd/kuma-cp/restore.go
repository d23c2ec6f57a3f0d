package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"koguma/cp"
	"koguma/cp/settings"
)

func newRestoreCommand() *cobra.Command {
	var config, file string
	var replace bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make the store hold what is in a backup",
		Long: "Make the store hold what is in a backup, and nothing else. The backup may come from a store of the other kind.\n\n" +
			"The settings are those of kuma-cp run, and the key file has to have the key that the backup was sealed with. Nothing\n" +
			"is written unless all of the backup can be read. What happened after the backup was made is forgotten: tokens that\n" +
			"were revoked since are valid again. The report says what to look at.",
		Example: `  # into an empty store
  kuma-cp restore --file koguma.backup

  # in the place of what is there
  kuma-cp restore --file koguma.backup --replace`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errNoFile()
			}
			return withStore(cmd, config, func(ctx context.Context, cfg settings.Config) error {
				r, err := cp.Restore(ctx, cfg, file, replace)
				if err != nil {
					return err
				}
				_, err = io.WriteString(cmd.OutOrStdout(), restored(r))
				return err
			})
		},
	}
	addStoreFlags(cmd, &config, &file)
	cmd.Flags().BoolVar(&replace, "replace", false, "write to a store that is not empty: what it holds goes")
	return cmd
}

// restored is what the operator has to know.
func restored(r cp.RestoreReport) string {
	var out strings.Builder
	then := r.Time.Format(time.RFC3339)
	fmt.Fprintf(&out, "%d resources are in %s as they were at %s.\n\n", r.Resources, r.Store, then)
	fmt.Fprintf(&out, "WHAT HAPPENED SINCE IS FORGOTTEN. Tokens that were revoked after %s, or signed with a key that was\n"+
		"deleted after it, are valid again. From now on these are known:\n", then)
	writeTokens(&out, r.Tokens)
	if len(r.Readmitted) > 0 {
		fmt.Fprintf(&out, "\nThe store that was replaced knew more: these keys had been deleted, and these tokens revoked. THEY ARE VALID AGAIN:\n")
		writeTokens(&out, r.Readmitted)
	}
	fmt.Fprintf(&out, "\nRevoke again what was revoked: kumactl revoke dataplane-token --mesh MESH --jti ID\n"+
		"Where that is not known, replace the keys: kumactl rotate signing-key --mesh MESH --force\n")
	return out.String()
}

func writeTokens(out io.Writer, all []cp.MeshTokens) {
	for _, t := range all {
		fmt.Fprintf(out, "  mesh %s\n", t.Mesh)
		fmt.Fprintf(out, "    signing keys:   %s\n", listed(t.SigningKeys))
		fmt.Fprintf(out, "    revoked tokens: %s\n", listed(t.Revoked))
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}
