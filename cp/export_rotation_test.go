package cp

import (
	"context"

	"koguma/policy"
	"koguma/xds"
)

// Trust is where the trust of a mesh stands.
func (c *Core) Trust(mesh string) policy.TrustOverview { return c.reconciler.rotations.Overview(mesh) }

// Force passes the stage that a mesh is in.
func (c *Core) Force(ctx context.Context, mesh string) ([]policy.Blocker, error) {
	return c.reconciler.rotations.Force(ctx, mesh)
}

// Pending is what the proxy of a session does not have yet of what follows from the store at that version.
func Pending(s xds.Session, version uint64) []policy.Pending { return s.(*session).pending(version) }

// RestRotation is restRotation, and RestRefresh restRefresh.
const (
	RestRotation = restRotation
	RestRefresh  = restRefresh
)
