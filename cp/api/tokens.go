package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"koguma/policy"
	"koguma/token"
)

// Bearers knows by which tokens proxies are connected.
type Bearers interface {
	// Tokens are those of the proxies of a mesh that are connected to this control plane.
	Tokens(mesh string) []TokenInUse
}

// TokenInUse is the token by which a proxy was let in.
type TokenInUse struct {
	Proxy  policy.Key
	Claims token.Claims
	Err    error // why the token, whatever the Dataplane, would not be let in now
}

func (a *API) listTokens(r *http.Request) (answer, error) {
	q, err := parseQuery(r, "")
	if err != nil {
		return answer{}, err
	}
	mesh := r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{Mesh: mesh, About: AboutToken})
	all := slices.DeleteFunc(known.Tokens(mesh), func(t TokenInUse) bool { return !q.inName(t.Proxy.Name) })
	slices.SortFunc(all, func(a, b TokenInUse) int { return cmp.Compare(a.Proxy.Name, b.Proxy.Name) })
	dataplanes, err := a.Registry.Store.List(r.Context(), policy.TypeDataplane, mesh)
	if err != nil {
		return answer{}, err
	}
	byName := map[string]*policy.Dataplane{}
	for _, d := range dataplanes {
		byName[d.Metadata().Name] = d.(*policy.Dataplane)
	}
	place := func(t TokenInUse) string { return t.Proxy.Name }
	ans := page(&q, r, all, place, func(t TokenInUse) any { return t.use(byName[t.Proxy.Name]) })
	ans.warning = known.warning()
	return ans, nil
}

// use tells of the token what may be told, and whether it would be let in now for this Dataplane, nil for none.
func (t *TokenInUse) use(d *policy.Dataplane) policy.TokenUse {
	err := t.Err
	switch {
	case err != nil:
	case d == nil:
		err = fmt.Errorf("%s has been deleted", t.Proxy)
	default:
		err = t.Claims.Admit(d)
	}
	c := &t.Claims
	u := policy.TokenUse{
		Mesh: t.Proxy.Mesh, Proxy: t.Proxy.Name, ID: c.ID, KeyID: c.KeyID, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
		Bounds: policy.TokenBounds{Name: c.Name, Tags: c.Tags, Type: c.Type}, Admitted: err == nil,
	}
	if err != nil {
		u.Reason = err.Error()
	}
	return u
}
