package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"koguma/policy"
)

// change is a pair of services about which a control plane would decide otherwise.
type change struct {
	Mesh string `json:"mesh"`
	policy.Change
}

// dryRunAnswer is what writes would come to.
type dryRunAnswer struct {
	Warnings []string `json:"warnings"`
	Changes  []change `json:"changes"`
}

// dryRun prints the resources as they would be sent, but for what is secret, and then, as comments, what would change by all of
// them together. If no control plane can be asked that is not known, and no error.
func (c *cli) dryRun(ctx context.Context, resources []policy.Resource, force bool) error {
	shown, err := documents(resources, masked)
	if err != nil {
		return err
	}
	if _, err := c.stdout.Write(shown); err != nil {
		return err
	}
	cp, err := c.client()
	if err != nil {
		return err
	}
	resources, err = cp.forDryRun(ctx, inOrder(resources))
	if err != nil {
		c.warn("which pairs of services would change is not known: %v", err)
		return nil
	}
	body, err := documents(resources, whole)
	if err != nil {
		return err
	}
	var query url.Values
	if force {
		query = url.Values{"force": {"true"}}
	}
	var answer dryRunAnswer
	_, err = cp.call(ctx, http.MethodPost, "/dry-run", query, body, &answer)
	p, refused := errors.AsType[*problem](err)
	switch {
	case refused && p.Status != http.StatusRequestEntityTooLarge && p.Title != "Not found":
		return fmt.Errorf("the control plane would refuse this: %w", err)
	case err != nil:
		c.warn("which pairs of services would change is not known: %v", err)
		return nil
	}
	for _, w := range answer.Warnings {
		c.warn("%s", w)
	}
	return printChanges(c.stdout, answer.Changes)
}

// whole is a resource as it is.
func whole(r policy.Resource) (any, error) { return r, nil }

// documents are the resources, each as it is to be shown, as one text.
func documents(resources []policy.Resource, show func(policy.Resource) (any, error)) (yaml, error) {
	var all yaml
	for i, r := range resources {
		shown, err := show(r)
		if err != nil {
			return nil, err
		}
		text, err := policy.EncodeYAML(shown)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			all = append(all, "---\n"...)
		}
		all = append(all, text...)
	}
	return all, nil
}

// dryDelete is what a deletion would change.
func (c *client) dryDelete(ctx context.Context, kind policy.Kind, mesh, name string, force bool) ([]change, error) {
	path, err := pathOf(kind, mesh, name)
	if err != nil {
		return nil, err
	}
	query := url.Values{"dryRun": {"true"}}
	if force {
		query.Set("force", "true")
	}
	var answer dryRunAnswer
	_, err = c.call(ctx, http.MethodDelete, path, query, nil, &answer)
	return answer.Changes, err
}

// printChanges writes a comment for each pair of services that would change.
func printChanges(w io.Writer, changes []change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "# no service would reach another that it does not reach now, or the other way round")
		return err
	}
	for _, c := range changes {
		_, err := fmt.Fprintln(w, "#", printableText(fmt.Sprintf("mesh %s: %s -> %s: from %s to %s: %s", c.Mesh, c.Source, c.Destination, c.Before, c.After, c.Why)))
		if err != nil {
			return err
		}
	}
	return nil
}
