package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"koguma/policy"
)

// matchRoutes are those about which policies decide about which proxies.
func (a *API) matchRoutes() []Route {
	const title = "Could not retrieve what policies match"
	routes := []Route{{"GET", "/meshes/{mesh}/dataplanes/{name}/policies", everybody, title, a.listDeciding}}
	for _, k := range policy.Kinds() {
		if k.IsPolicy() {
			one := "/meshes/{mesh}/" + k.Path + "/{name}"
			routes = append(routes, Route{"GET", one + "/_resources/dataplanes", everybody, title, a.listMatched(k)})
		}
	}
	return routes
}

// deciding are the policies that decide about an inbound.
func deciding(permissions policy.Permissions, d *policy.Dataplane, in *policy.Inbound) []policy.Resource {
	var all []policy.Resource
	if merged := permissions.Merge(d, in); merged != nil {
		for _, p := range merged.Permissions {
			all = append(all, p)
		}
	} else if p := permissions.Match(in.Tags); p != nil {
		all = append(all, p)
	}
	return all
}

// listMatched answers for a policy with the Dataplanes of which it decides about an inbound.
func (a *API) listMatched(k policy.Kind) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		q, err := parseQuery(r, policy.TypeDataplane)
		if err != nil {
			return answer{}, err
		}
		key, err := a.keyOf(r, k)
		if err != nil {
			return answer{}, err
		}
		if _, err := a.Registry.Store.Get(r.Context(), key); err != nil {
			return answer{}, err
		}
		permissions, err := permissionsOf(r.Context(), a.Registry.Store, key.Mesh)
		if err != nil {
			return answer{}, err
		}
		found, err := a.Registry.Store.List(r.Context(), policy.TypeDataplane, key.Mesh)
		if err != nil {
			return answer{}, err
		}
		found = slices.DeleteFunc(found, func(d policy.Resource) bool {
			return !q.matches(d) || !decides(permissions, key, d.(*policy.Dataplane))
		})
		return page(&q, r, found, placeOf, func(d policy.Resource) any {
			return policy.Meta{Type: policy.TypeDataplane, Mesh: key.Mesh, Name: d.Metadata().Name}
		}), nil
	}
}

// decides reports whether the policy decides about an inbound of the Dataplane.
func decides(permissions policy.Permissions, key policy.Key, d *policy.Dataplane) bool {
	for i := range d.Networking.Inbound {
		if slices.ContainsFunc(deciding(permissions, d, &d.Networking.Inbound[i]), func(p policy.Resource) bool { return p.Metadata().Key() == key }) {
			return true
		}
	}
	return false
}

// listDeciding answers for a Dataplane with the policies that decide about its inbounds.
func (a *API) listDeciding(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	k, _ := policy.KindOf(policy.TypeDataplane)
	key, err := a.keyOf(r, k)
	if err != nil {
		return answer{}, err
	}
	found, err := a.Registry.Store.Get(r.Context(), key)
	if err != nil {
		return answer{}, err
	}
	permissions, err := permissionsOf(r.Context(), a.Registry.Store, key.Mesh)
	if err != nil {
		return answer{}, err
	}
	d := found.(*policy.Dataplane)
	body := policy.MatchedPolicies[policy.Resource]{Kind: "SidecarDataplane", Items: []policy.MatchedInbound[policy.Resource]{}}
	for i := range d.Networking.Inbound {
		in := &d.Networking.Inbound[i]
		matched := map[policy.Type][]policy.Resource{}
		for _, p := range deciding(permissions, d, in) {
			t := p.Metadata().Type
			matched[t] = append(matched[t], p)
		}
		body.Items = append(body.Items, policy.MatchedInbound[policy.Resource]{
			Type: "inbound", Name: fmt.Sprintf("%s:%d", d.Listen(in), cmp.Or(in.ServicePort, in.Port)), Service: in.Service(), MatchedPolicies: matched,
		})
	}
	body.Total = len(body.Items)
	return answer{body: body}, nil
}
