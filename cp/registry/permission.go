package registry

import (
	"context"
	"net/http"
	"slices"

	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
)

// checkMerged refuses a permission that comes, together with the others of its mesh, to more than the proxy of a Dataplane is
// given. What slips past this, as a Dataplane does that comes later, is given no configuration.
func (rs Registry) checkMerged(ctx context.Context, p *policy.MeshTrafficPermission) error {
	all, err := store.ListOf[*policy.MeshTrafficPermission](ctx, rs.Store, policy.TypeMeshTrafficPermission, p.Mesh)
	if err != nil {
		return err
	}
	dataplanes, err := store.ListOf[*policy.Dataplane](ctx, rs.Store, policy.TypeDataplane, p.Mesh)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o *policy.MeshTrafficPermission) bool { return o.Name == p.Name })
	return checkInbounds(policy.NewPermissions(nil, append(all, p)), dataplanes)
}

// checkInbounds refuses permissions that come to too much at one of the inbounds.
func checkInbounds(permissions policy.Permissions, dataplanes []*policy.Dataplane) error {
	seen := map[*policy.Merged]bool{nil: true}
	for _, d := range dataplanes {
		for i := range d.Networking.Inbound {
			m := permissions.Merge(d, &d.Networking.Inbound[i])
			if seen[m] {
				continue
			}
			seen[m] = true
			if err := m.Check(); err != nil {
				return problem.Refuse(http.StatusConflict, "Conflict", err.Error())
			}
		}
	}
	return nil
}
