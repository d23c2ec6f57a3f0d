package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"koguma/policy"
)

func (c *cli) applyCommand() *cobra.Command {
	var file string
	var dryRun, force bool
	var wait waiting
	vars := pairs{}
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Create or change resources",
		Long: `Create or change resources.

Every document is read and checked first; if one is not as it should be, none is sent.
Then they are sent one by one, in the order in which they stand. Only secrets that the backends of a Mesh refer to, and the
permissions of a Mesh with mTLS, go before that Mesh, so that nobody is denied for a moment; and if it is not there yet, it is
created without mTLS before them, because they need a mesh to be in.

What is there already is replaced, whoever has changed it since: the last one wins.`,
		Example: `  kumactl apply -f mesh.yaml
  kumactl apply -f policies/ --dry-run
  kumactl apply -f policies/ --wait   # until all proxies have it
  kumactl apply -f dataplane.yaml --var ip=192.0.2.7   # fills {{ ip }}
  cat permission.yaml | kumactl apply -f -`,
		Args: noArgsApply,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := readInput(file, c.stdin)
			if err != nil {
				return err
			}
			resources, err := in.parse(vars)
			if err != nil {
				return fmt.Errorf("%w\nNothing was sent", err)
			}
			if dryRun {
				return c.dryRun(cmd.Context(), resources, force)
			}
			return c.apply(cmd.Context(), resources, force, &wait)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "file", "f", "", "a file, a directory (its .yaml, .yml and .json files), or - for stdin (required)")
	flags.VarP(vars, "var", "v", "the value of a variable in the documents; may be repeated")
	flags.BoolVar(&dryRun, "dry-run", false, "print the resources as they would be sent, without what is secret, and who would reach whom then; change nothing")
	flags.BoolVar(&force, "force", false, "take a backend away from a Mesh although its certificates are in use, which cuts those off")
	wait.addFlags(cmd)
	require(cmd, "file")
	return cmd
}

// noArgsApply says why there are arguments, without repeating them: they may be the rest of a secret.
func noArgsApply(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New(`there are arguments that belong to no flag: put quotes around a value of several lines, as in --var "key=$(base64 FILE)"`)
	}
	return nil
}

// parse reads and checks all documents, and reports everything that is wrong with any of them.
func (in *input) parse(vars map[string]string) ([]policy.Resource, error) {
	if len(vars) == 0 {
		vars = nil // the braces in a document stand for themselves
	}
	resources, err := policy.ParseAll(in.text, vars)
	if err != nil {
		return nil, in.place(err)
	}
	var wrong []error
	for _, r := range resources {
		key := r.Metadata().Key()
		if _, ok := policy.KindOf(key.Type); !ok {
			wrong = append(wrong, fmt.Errorf("%v: this type cannot be applied", key))
		} else if err := r.Validate(); err != nil {
			wrong = append(wrong, fmt.Errorf("%v is not valid%s", key, reasons(err)))
		}
	}
	return resources, errors.Join(wrong...)
}

// reasons has a line for each field that is wrong.
func reasons(err error) string {
	invalid, ok := errors.AsType[*policy.Invalid](err)
	if !ok {
		return ": " + err.Error()
	}
	var s string
	for _, f := range invalid.Fields {
		s += bullet(f.Field, f.Reason)
	}
	return s
}

// apply sends the resources in order, up to the first that is refused, and then waits if that was asked for.
func (c *cli) apply(ctx context.Context, resources []policy.Resource, force bool, wait *waiting) error {
	cp, err := c.client()
	if err != nil {
		return err
	}
	cp.force = force
	sent := 0
	for _, s := range inOrder(resources) {
		key := s.resource.Metadata().Key()
		if s.bare {
			if err := c.createBare(ctx, cp, s.resource); err != nil {
				return fmt.Errorf("%v: %w", key, err)
			}
			continue
		}
		done, err := cp.apply(ctx, s.resource)
		sent++
		if err != nil {
			err = fmt.Errorf("%v: %w", key, err)
			if left := len(resources) - sent; left > 0 {
				err = fmt.Errorf("%w\n%d of the %d resources come after it and were not sent", err, left, len(resources))
			}
			return err
		}
		if _, err := fmt.Fprintf(c.stdout, "resource type=%q mesh=%q name=%q %s\n", key.Type, key.Mesh, key.Name, done); err != nil {
			return err
		}
		if err := wait.wrote(key, cp.version); err != nil {
			return err
		}
	}
	return wait.await(ctx, c, cp)
}

// apply sends the resource, unless the control plane has the same already, and says what that did.
func (c *client) apply(ctx context.Context, r policy.Resource) (done string, err error) {
	meta := r.Metadata()
	kind, _ := policy.KindOf(meta.Type)
	old, err := c.get(ctx, kind, meta.Mesh, meta.Name)
	switch {
	case err == nil && same(old, r):
		return "Unchanged", nil
	case err != nil && !isNotFound(err):
		return "", err
	}
	created, err := c.put(ctx, kind, r)
	switch {
	case err != nil:
		return "", err
	case created:
		return "Created", nil
	default:
		return "Updated", nil
	}
}

// same reports whether two resources say the same, apart from the times, which are the store's.
func same(a, b policy.Resource) bool {
	x, errX := contentOf(a)
	y, errY := contentOf(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func contentOf(r policy.Resource) ([]byte, error) {
	meta := r.Metadata()
	created, modified := meta.CreationTime, meta.ModificationTime
	meta.CreationTime, meta.ModificationTime = time.Time{}, time.Time{}
	defer func() { meta.CreationTime, meta.ModificationTime = created, modified }()
	return policy.Encode(r)
}
