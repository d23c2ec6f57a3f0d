package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) deleteCommand() *cobra.Command {
	var mesh string
	var force, dryRun bool
	var wait waiting
	names := singulars()
	cmd := &cobra.Command{
		Use:   "delete TYPE NAME",
		Short: "Delete a resource",
		Long: "Delete a resource. TYPE is one of " + strings.Join(names, ", ") + `.

What others need is not deleted: a mesh that has Dataplanes, the secret of a CA that signs. The error says what is in the way.
--dry-run says who would reach whom then, and --wait waits until every proxy has it.`,
		Example: `  kumactl delete traffic-permission web-to-backend --mesh default
  kumactl delete secret dataplane-token-signing-key-default-1 --mesh=default   # ends every token of that key`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return names, cobra.ShellCompDirectiveNoFileComp
			}
			kind, _ := kindNamed(args[0])
			return c.names(kind, &mesh)(cmd, args[1:], start)
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(2)(cmd, args); err != nil {
				return err
			}
			return deletable(args[0], force)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, _ := kindNamed(args[0])
			cp, err := c.client()
			if err != nil {
				return err
			}
			var changes []change
			if dryRun {
				changes, err = cp.dryDelete(cmd.Context(), kind, mesh, args[1], force)
			} else {
				err = cp.delete(cmd.Context(), kind, mesh, args[1], force)
			}
			if isNotFound(err) {
				return fmt.Errorf("there is no %s with name %q", kind.Type, args[1])
			} else if err != nil {
				return err
			}
			if dryRun {
				fmt.Fprintf(c.stdout, "%s %q would be deleted\n", kind.Type, args[1])
				return printChanges(c.stdout, changes)
			}
			return c.deleted(cmd.Context(), cp, kind, mesh, args[1], &wait)
		},
	}
	addMeshFlag(cmd, &mesh)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say whether it could be deleted, and who would reach whom then; change nothing")
	wait.addFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "delete a signing key although it is the last: all data plane tokens of the mesh end with it")
	return cmd
}

// deletable is why nothing of what is called so could be deleted.
func deletable(word string, force bool) error {
	if kind, ok := kindNamed(word); !ok {
		return fmt.Errorf("unknown TYPE %q: must be one of %s", word, strings.Join(singulars(), ", "))
	} else if force && kind.Type != policy.TypeSecret {
		return fmt.Errorf("--force is for a %s only", secretKind().Singular)
	}
	return nil
}

// deleted says that a resource was deleted, and waits until every proxy has that, if it was asked to.
func (c *cli) deleted(ctx context.Context, cp *client, kind policy.Kind, mesh, name string, wait *waiting) error {
	if _, err := fmt.Fprintf(c.stdout, "deleted %s %q\n", kind.Type, name); err != nil || !kind.InMesh {
		return err
	}
	err := wait.wrote(policy.Key{Type: kind.Type, Mesh: mesh, Name: name}, cp.version)
	return errors.Join(err, wait.await(ctx, c, cp))
}

// singulars are what the kinds are called on the command line.
func singulars() (names []string) {
	for _, k := range policy.Kinds() {
		names = append(names, k.Singular)
	}
	return names
}

// kindNamed is the kind of which one is called so on the command line.
func kindNamed(word string) (policy.Kind, bool) {
	for _, k := range policy.Kinds() {
		if slices.Contains(k.Singulars(), word) {
			return k, true
		}
	}
	return policy.Kind{}, false
}

func secretKind() policy.Kind {
	kind, _ := policy.KindOf(policy.TypeSecret)
	return kind
}
