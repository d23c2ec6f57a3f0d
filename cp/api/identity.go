package api

import (
	"net/http"

	"koguma/policy"
)

// Witness knows who the proxies are.
type Witness interface {
	// Identity is who the proxy of a Dataplane is by now, or was when it was connected last.
	Identity(key policy.Key) policy.ProxyIdentity
}

// getIdentity tells who a proxy is. The ids of tokens and keys are for administrators, as in the list of tokens.
func (a *API) getIdentity(r *http.Request) (answer, error) {
	k, _ := policy.KindOf(policy.TypeDataplane)
	key, err := a.keyOf(r, k)
	if err != nil {
		return answer{}, err
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	if _, err := a.Registry.Store.Get(r.Context(), key); err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{Mesh: key.Mesh, Proxies: []string{key.Name}, About: AboutIdentity})
	id := known.Identity(key)
	if id.Token != nil && !a.identify(r).admin {
		id.Token = &policy.IdentityToken{ExpiresAt: id.Token.ExpiresAt}
	}
	return answer{body: id, warning: known.warning()}, nil
}
