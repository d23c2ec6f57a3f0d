package cp

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"koguma/policy"
	"koguma/token"
)

// bearers knows by which tokens proxies are connected.
type bearers interface {
	// Tokens are those of the proxies of a mesh that are connected to this control plane.
	Tokens(mesh string) []tokenInUse
}

// tokenInUse is the token by which a proxy was let in.
type tokenInUse struct {
	proxy  policy.Key
	claims token.Claims
	err    error // why the token, whatever the Dataplane, would not be let in now
}

// Tokens implements bearers.
func (r *reconciler) Tokens(mesh string) []tokenInUse {
	r.mu.Lock()
	var all []tokenInUse
	for key, s := range r.sessions {
		if key.Mesh == mesh && s.claims.KeyID != "" { // without authentication nobody has one
			all = append(all, tokenInUse{proxy: key, claims: s.claims})
		}
	}
	r.mu.Unlock()
	v, now := r.keys.verifier(), time.Now()
	for i := range all {
		all[i].err = v.Judge(all[i].claims, now)
	}
	return all
}

func (a *api) listTokens(r *http.Request) (answer, error) {
	q, err := parseQuery(r, "")
	if err != nil {
		return answer{}, err
	}
	mesh := r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	known := a.know(r.Context(), question{Mesh: mesh, About: aboutToken})
	all := slices.DeleteFunc(known.Tokens(mesh), func(t tokenInUse) bool { return !q.inName(t.proxy.Name) })
	slices.SortFunc(all, func(a, b tokenInUse) int { return cmp.Compare(a.proxy.Name, b.proxy.Name) })
	dataplanes, err := a.resources.Store.List(r.Context(), policy.TypeDataplane, mesh)
	if err != nil {
		return answer{}, err
	}
	byName := map[string]*policy.Dataplane{}
	for _, d := range dataplanes {
		byName[d.Metadata().Name] = d.(*policy.Dataplane)
	}
	place := func(t tokenInUse) string { return t.proxy.Name }
	ans := page(&q, r, all, place, func(t tokenInUse) any { return t.use(byName[t.proxy.Name]) })
	ans.warning = known.warning()
	return ans, nil
}

// use tells of the token what may be told, and whether it would be let in now for this Dataplane, nil for none.
func (t *tokenInUse) use(d *policy.Dataplane) policy.TokenUse {
	err := t.err
	switch {
	case err != nil:
	case d == nil:
		err = fmt.Errorf("%s has been deleted", t.proxy)
	default:
		err = t.claims.Admit(d)
	}
	c := &t.claims
	u := policy.TokenUse{
		Mesh: t.proxy.Mesh, Proxy: t.proxy.Name, ID: c.ID, KeyID: c.KeyID, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
		Bounds: policy.TokenBounds{Name: c.Name, Tags: c.Tags, Type: c.Type}, Admitted: err == nil,
	}
	if err != nil {
		u.Reason = err.Error()
	}
	return u
}
