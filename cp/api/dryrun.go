package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"koguma/cp/problem"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/store"
)

// dryRunBody is what writes would come to.
type dryRunBody struct {
	Warnings []string     `json:"warnings,omitempty"`
	Changes  []pairChange `json:"changes"`
}

// pairChange is that a service of a mesh would reach another that it does not reach now, or the other way round.
type pairChange struct {
	Mesh string `json:"mesh"`
	policy.Change
}

// takeDryRun takes dryRun out of the query, and reports whether it was there and true.
func takeDryRun(r *http.Request) (bool, error) {
	var rest []string
	given := 0
	dry := false
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		switch {
		case part == "dryRun=true" || part == "dryRun=false":
			dry = part == "dryRun=true"
			given++
		case strings.HasPrefix(part, "dryRun"):
			return false, problem.Parameter("dryRun", "must be true or false")
		default:
			rest = append(rest, part)
		}
	}
	if given > 1 {
		return false, problem.Parameter("dryRun", "is given more than once")
	}
	r.URL.RawQuery = strings.Join(rest, "&")
	return dry, nil
}

// dryRun answers what the writes that do makes would come to. They happen to a copy of the store, by the same code as in
// earnest, so whatever is refused there is refused here.
func (a *API) dryRun(ctx context.Context, do func(registry.Registry) (warnings []string, err error)) (answer, error) {
	fork, err := store.Fork(ctx, a.Registry.Store)
	if err != nil {
		return answer{}, err
	}
	before, err := reaches(ctx, fork)
	if err != nil {
		return answer{}, err
	}
	rs := a.Registry
	rs.Store = fork
	body := dryRunBody{Changes: []pairChange{}}
	if body.Warnings, err = do(rs); err != nil {
		return answer{}, err
	}
	after, err := reaches(ctx, fork)
	if err != nil {
		return answer{}, err
	}
	nobody := policy.NewReach(&policy.Mesh{}, policy.Permissions{}, nil)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, mesh := range slices.Sorted(maps.Keys(all)) {
		was, is := before[mesh], after[mesh]
		if was == nil {
			was = nobody
		}
		if is == nil {
			is = nobody
		}
		for _, c := range policy.Changes(was, is) {
			body.Changes = append(body.Changes, pairChange{mesh, c})
		}
	}
	return answer{body: body, audit: []any{"dryRun", true}}, nil
}

// reaches is who reaches whom, by mesh.
func reaches(ctx context.Context, s store.Store) (map[string]*policy.Reach, error) {
	meshes, err := store.ListOf[*policy.Mesh](ctx, s, policy.TypeMesh, "")
	if err != nil {
		return nil, err
	}
	all := map[string]*policy.Reach{}
	for _, m := range meshes {
		permissions, err := permissionsOf(ctx, s, m.Name)
		if err != nil {
			return nil, err
		}
		dataplanes, err := store.ListOf[*policy.Dataplane](ctx, s, policy.TypeDataplane, m.Name)
		if err != nil {
			return nil, err
		}
		all[m.Name] = policy.NewReach(m, permissions, dataplanes)
	}
	return all, nil
}

// permissionsOf is all permissions of a mesh.
func permissionsOf(ctx context.Context, s store.Store, mesh string) (policy.Permissions, error) {
	traffic, err := store.ListOf[*policy.TrafficPermission](ctx, s, policy.TypeTrafficPermission, mesh)
	if err != nil {
		return policy.Permissions{}, err
	}
	merged, err := store.ListOf[*policy.MeshTrafficPermission](ctx, s, policy.TypeMeshTrafficPermission, mesh)
	return policy.NewPermissions(traffic, merged), err
}

// postDryRun answers for all documents of a body together, put one after the other.
func (a *API) postDryRun(r *http.Request) (answer, error) {
	if a.Config.APIServer.ReadOnly {
		return answer{}, methodNotAllowed(r)
	}
	force := r.URL.RawQuery == "force=true"
	if !force {
		if err := noQuery(r); err != nil {
			return answer{}, err
		}
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, badBody(err)
	}
	documents, err := policy.ParseAll(data, nil)
	if err != nil {
		return answer{}, err
	}
	return a.dryRun(r.Context(), func(rs registry.Registry) (warnings []string, err error) {
		rs.Force = force
		for _, d := range documents {
			w, err := putDocument(r.Context(), rs, d)
			if err != nil {
				return nil, about(d.Metadata().Key(), err)
			}
			warnings = append(warnings, w...)
		}
		return warnings, nil
	})
}

// putDocument puts a resource as a PUT of its kind does.
func putDocument(ctx context.Context, rs registry.Registry, r policy.Resource) (warnings []string, err error) {
	if _, ok := policy.KindOf(r.Metadata().Type); !ok {
		return nil, problem.Parameter("type", "this type cannot be applied")
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	out, err := rs.Put(ctx, r)
	return out.Warnings, err
}

// about says which document of several an error is about.
func about(key policy.Key, err error) error {
	if invalid, ok := errors.AsType[*policy.Invalid](err); ok {
		p := problem.Invalid(fmt.Sprintf("%s is not valid", key), invalid)
		return p
	}
	p := *problemOf("Could not process a resource", err)
	p.Detail = fmt.Sprintf("%s: %s", key, p.Detail)
	p.Details = p.Detail
	return &p
}
