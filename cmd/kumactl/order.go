package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"koguma/policy"
)

// step is one resource to send. One that is bare is a Mesh without its mTLS, to be created and never to be changed.
type step struct {
	resource policy.Resource
	bare     bool
}

// inOrder is the order in which a control plane takes the resources: that in which they stand, but for a Mesh with mTLS and
// what it needs: the secrets that its CA is in, and its permissions, without which it would deny everybody for a moment.
// They need a mesh to be in, so they go before it, and before them the Mesh without mTLS. That one goes only where there is
// none yet: nobody is in such a mesh, so nothing is sent in plaintext.
func inOrder(resources []policy.Resource) []step {
	meshOf := map[policy.Key]*policy.Mesh{} // of what a Mesh among them needs
	for _, r := range resources {
		m, ok := r.(*policy.Mesh)
		if !ok {
			continue
		}
		for _, key := range needsOf(m, resources) {
			if meshOf[key] == nil {
				meshOf[key] = m
			}
		}
	}
	var steps []step
	sent := map[*policy.Mesh]bool{} // with what they need
	for _, r := range resources {
		m, ok := r.(*policy.Mesh)
		if !ok {
			m = meshOf[r.Metadata().Key()]
		}
		switch {
		case m == nil:
			steps = append(steps, step{resource: r})
		case !sent[m]:
			sent[m] = true
			steps = append(steps, stepsOf(m, resources, meshOf)...)
		}
	}
	return steps
}

// stepsOf are a Mesh and those among the resources that it needs.
func stepsOf(m *policy.Mesh, resources []policy.Resource, meshOf map[policy.Key]*policy.Mesh) []step {
	var needs []step
	for _, r := range resources {
		if meshOf[r.Metadata().Key()] == m {
			needs = append(needs, step{resource: r})
		}
	}
	if needs == nil {
		return []step{{resource: m}}
	}
	bare := *m
	bare.MTLS = nil
	return append(append([]step{{&bare, true}}, needs...), step{resource: m})
}

// needsOf are the keys of what a Mesh needs: the secrets of its backends, and if its mTLS is on, those of the resources that
// say who may talk to whom in it.
func needsOf(m *policy.Mesh, resources []policy.Resource) []policy.Key {
	var keys []policy.Key
	for _, name := range secretsOf(m) {
		keys = append(keys, policy.Key{Type: policy.TypeSecret, Mesh: m.Name, Name: name})
	}
	if m.Enabled() == nil {
		return keys
	}
	for _, r := range resources {
		key := r.Metadata().Key()
		if key.Mesh == m.Name && (key.Type == policy.TypeTrafficPermission || key.Type == policy.TypeMeshTrafficPermission) {
			keys = append(keys, key)
		}
	}
	return keys
}

// secretsOf are the names of the secrets that the backends of a Mesh refer to: each kind of backend has them at "secret" of
// the fields of its conf.
func secretsOf(m *policy.Mesh) []string {
	if m.MTLS == nil {
		return nil
	}
	var names []string
	for _, b := range m.MTLS.Backends {
		var conf map[string]any
		if b.Conf == "" || b.Conf.Decode(&conf) != nil {
			continue // what is wrong with it is for the control plane to say
		}
		for _, field := range conf {
			if source, ok := field.(map[string]any); ok {
				if name, ok := source["secret"].(string); ok {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// hasMesh reports whether there is a mesh of that name.
func (c *client) hasMesh(ctx context.Context, name string) (bool, error) {
	kind, _ := policy.KindOf(policy.TypeMesh)
	_, err := c.get(ctx, kind, "", name)
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// create creates a resource, and reports whether it was not there.
func (c *client) create(ctx context.Context, r policy.Resource) (created bool, err error) {
	kind, _ := policy.KindOf(r.Metadata().Type)
	path, err := pathOf(kind, r.Metadata().Mesh, r.Metadata().Name)
	if err != nil {
		return false, err
	}
	req, err := c.newRequest(ctx, http.MethodPut, path, nil, r)
	if err != nil {
		return false, err
	}
	req.Header.Set("If-None-Match", "*")
	status, _, err := c.do(req)
	if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusConflict {
		return false, nil
	}
	return status == http.StatusCreated, err
}

// createBare creates a mesh for what its Mesh needs.
func (c *cli) createBare(ctx context.Context, cp *client, r policy.Resource) error {
	if there, err := cp.hasMesh(ctx, r.Metadata().Name); err != nil || there {
		return err
	}
	created, err := cp.create(ctx, r)
	if err != nil || !created {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "resource type=%q mesh=%q name=%q Created without mTLS, for what it needs\n", policy.TypeMesh, "", r.Metadata().Name)
	return err
}

// forDryRun are the resources as a control plane is to try them: bare meshes only where there is none.
func (c *client) forDryRun(ctx context.Context, steps []step) ([]policy.Resource, error) {
	var resources []policy.Resource
	for _, s := range steps {
		there := false
		if s.bare {
			var err error
			if there, err = c.hasMesh(ctx, s.resource.Metadata().Name); err != nil {
				return nil, err
			}
		}
		if !there {
			resources = append(resources, s.resource)
		}
	}
	return resources, nil
}
