package api

import (
	"context"
	"fmt"
	"net/http"

	"koguma/cp/problem"
	"koguma/policy"
)

// Rotator knows how the trust of meshes stands.
type Rotator interface {
	// Overview is how that of a mesh stands; empty where mTLS was never on.
	Overview(mesh string) policy.TrustOverview
	// Force passes the stage that a mesh is in, and returns those that it waited for.
	Force(ctx context.Context, mesh string) (passed []policy.Blocker, err error)
}

func (a *API) getTrust(r *http.Request) (answer, error) {
	mesh := r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	return answer{body: a.Rotator.Overview(mesh)}, nil
}

// rotateTrust answers when it is begun; how it goes on is for getTrust to tell.
func (a *API) rotateTrust(r *http.Request) (answer, error) {
	var req policy.Rotate
	mesh, err := a.change(r, &req)
	if err != nil {
		return answer{}, err
	}
	passed, err := a.rotate(r.Context(), mesh, req)
	if err != nil {
		return answer{}, err
	}
	audit := []any{"to", req.To, "abort", req.Abort, "force", req.Force}
	if len(passed) > 0 {
		audit = append(audit, "forced past", policy.NameBlockers(passed))
	}
	return answer{body: a.Rotator.Overview(mesh), audit: audit}, nil
}

func (a *API) rotate(ctx context.Context, mesh string, req policy.Rotate) (passed []policy.Blocker, err error) {
	key := policy.Key{Type: policy.TypeMesh, Name: mesh}
	v := a.Rotator.Overview(mesh)
	switch {
	case req.Force && req.Abort, req.Abort && req.To != "", req == policy.Rotate{}:
		return nil, problem.Parameter("to", "give to, or abort, or force with or without to")
	case req.Force && req.To != "" && req.To != v.Enabled:
		return nil, problem.Conflict(key, fmt.Sprintf("it is not going to %q, so there is nothing to force; go there first, without force", req.To))
	case req.Force && v.Stage == policy.StageSettled && len(v.WaitsFor) == 0, req.Force && v.Enabled == "":
		return nil, problem.Conflict(key, "nothing is being waited for")
	case req.Force:
		return a.Rotator.Force(ctx, mesh)
	case req.Abort:
		if err := abortable(key, v); err != nil {
			return nil, err
		}
		return nil, a.Registry.Rotate(ctx, mesh, v.From)
	}
	return nil, a.Registry.Rotate(ctx, mesh, req.To)
}

// abortable says why there is no way back to the CA that the rotation began from.
func abortable(mesh policy.Key, v policy.TrustOverview) error {
	switch {
	case v.From == "" || v.Stage == policy.StageSettled:
		return problem.Conflict(mesh, "its CA is not being rotated")
	case v.Stage == policy.StageDrop:
		return problem.Conflict(mesh, fmt.Sprintf("the rotation is over: %s is not trusted any more; going back to it is a rotation of its own, with to", v.From))
	case v.From == v.Enabled:
		return problem.Conflict(mesh, fmt.Sprintf("it goes to %s already; where a backend has got another CA, give it its old one back", v.From))
	}
	return nil
}
