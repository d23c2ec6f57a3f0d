package api

import (
	"fmt"
	"net/http"

	"koguma/policy"
)

// signingKeyRequest is the body of POST /meshes/{mesh}/signing-keys. With After, there is nothing to do if the mesh has
// a newer key than that.
type signingKeyRequest struct {
	After *int `json:"after"`
}

func (a *API) makeSigningKey(r *http.Request) (answer, error) {
	var req signingKeyRequest
	mesh, err := a.change(r, &req)
	if err != nil {
		return answer{}, err
	}
	key, created, err := a.Registry.AddSigningKey(r.Context(), mesh, req.After)
	if err != nil {
		return answer{}, err
	}
	ans := answer{
		status: http.StatusOK,
		body:   key.Describe(true),
		audit:  []any{"kid", key.Serial, "created", created},
	}
	if created {
		ans.status = http.StatusCreated
	}
	return ans, nil
}

func (a *API) listSigningKeys(r *http.Request) (answer, error) {
	q, err := parseQuery(r, "")
	if err != nil {
		return answer{}, err
	}
	mesh := r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	keys, err := a.Registry.SigningKeys(r.Context(), mesh)
	if err != nil {
		return answer{}, err
	}
	var found []policy.SigningKey
	for i, k := range keys {
		if q.inName(k.Secret.Name) {
			found = append(found, k.Describe(i == len(keys)-1))
		}
	}
	place := func(k policy.SigningKey) string { return fmt.Sprintf("%020d", k.Serial) }
	return page(&q, r, found, place, func(k policy.SigningKey) any { return k }), nil
}
