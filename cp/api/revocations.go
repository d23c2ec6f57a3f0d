package api

import (
	"fmt"
	"io"
	"net/http"

	"koguma/policy"
	"koguma/token"
)

// revocationRequest is the body of POST /tokens/dataplane/revocations.
type revocationRequest struct {
	Mesh string   `json:"mesh"`
	IDs  []string `json:"ids"`
}

// revocationAnswer says how many ids the list did not have before, and how many it has now.
type revocationAnswer struct {
	Added int `json:"added"`
	Total int `json:"total"`
}

func (a *API) revokeTokens(r *http.Request) (answer, error) {
	if a.Config.APIServer.ReadOnly {
		return answer{}, methodNotAllowed(r)
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, badBody(err)
	}
	var req revocationRequest
	if err := policy.Decode(data, &req); err != nil {
		return answer{}, err
	}
	if err := req.check(); err != nil {
		return answer{}, err
	}
	a.revoking.Lock()
	added, total, err := a.Registry.Revoke(r.Context(), req.Mesh, req.IDs)
	a.revoking.Unlock()
	if err != nil {
		return answer{}, err
	}
	for _, id := range added {
		a.audit(r, a.identify(r), []any{"mesh", req.Mesh, "jti", id}, http.StatusOK, "")
	}
	return answer{
		body:  revocationAnswer{Added: len(added), Total: total},
		audit: []any{"mesh", req.Mesh, "added", len(added), "total", total},
	}, nil
}

func (req *revocationRequest) check() error {
	var bad policy.Invalid
	add := func(field string, err error) {
		if err != nil {
			bad.Fields = append(bad.Fields, policy.FieldError{Field: field, Reason: err.Error()})
		}
	}
	add("mesh", policy.ValidMeshName(req.Mesh))
	if len(req.IDs) == 0 {
		add("ids", fmt.Errorf("must have the id (jti) of a token"))
	}
	for i, id := range req.IDs {
		add(fmt.Sprintf("ids[%d]", i), token.ValidID(id))
	}
	if bad.Fields != nil {
		return &bad
	}
	return nil
}
