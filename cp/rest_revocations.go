package cp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// maxRevocations bounds a list that ids are added to, in bytes: in base64 it must still fit into a PUT.
const maxRevocations = policy.MaxSecret/4*3 - 4<<10

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

func (a *api) revokeTokens(r *http.Request) (answer, error) {
	if a.cfg.APIServer.ReadOnly {
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
	added, total, err := a.resources.revoke(r.Context(), req.Mesh, req.IDs)
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

// revoke puts ids on the list of a mesh, which keeps what it has. It returns those that it did not have, and how many
// there are now.
func (rs resources) revoke(ctx context.Context, mesh string, ids []string) (added []string, total int, err error) {
	err = store.Again(func() error {
		m, err := rs.find(ctx, policy.Key{Type: policy.TypeMesh, Name: mesh})
		if err != nil {
			return err
		}
		if m == nil {
			return parameter("mesh", fmt.Sprintf("there is no mesh %q", mesh))
		}
		list := newSecret(mesh, policy.RevocationsName(mesh), nil)
		old, err := rs.find(ctx, list.Key())
		if err != nil {
			return err
		}
		if old != nil {
			list.Labels, list.Data = old.Metadata().Labels, old.(*policy.Secret).Data
		}
		list.Data, added, total = join(list.Data, ids)
		if len(added) == 0 {
			return nil
		}
		if len(list.Data) > maxRevocations {
			return conflict(list.Key(), fmt.Sprintf("the list would have more than %d bytes; "+
				"take the ids off of tokens that have expired, or delete the key that signed them", maxRevocations))
		}
		return rs.store.Write(ctx, store.Unchanged(m), store.Op{Put: list, Expect: store.AsRead(old)})
	})
	return added, total, err
}

// join is a list of revoked tokens with more ids at its end: those of ids that it does not have yet. It also tells how
// many it has then.
func join(list []byte, ids []string) (joined []byte, added []string, total int) {
	known := map[string]bool{}
	for id := range revokedIDs(list) {
		known[id] = true
	}
	for _, id := range ids {
		if !known[id] {
			known[id] = true
			added = append(added, id)
		}
	}
	list = bytes.TrimRightFunc(list, separatesIDs)
	if len(list) > 0 && len(added) > 0 {
		list = append(slices.Clone(list), ',')
	}
	return append(list, strings.Join(added, ",")...), added, len(known)
}

// revokedIDs are the ids on a list: commas and white space separate them.
func revokedIDs(list []byte) iter.Seq[string] {
	return strings.FieldsFuncSeq(string(list), separatesIDs)
}

func separatesIDs(r rune) bool { return r == ',' || unicode.IsSpace(r) }

// checkRevocations refuses a list with something on it that is no id: who wrote it believes that it revokes a token.
func checkRevocations(list []byte) error {
	n := 0
	for id := range revokedIDs(list) {
		n++
		if err := token.ValidID(id); err != nil {
			return parameter("data", fmt.Sprintf("entry %d of the list: %v", n, err))
		}
	}
	return nil
}
