package api

import (
	"net/http"

	"koguma/policy"
)

// typeOverview is the "type" of an overview.
const typeOverview policy.Type = "DataplaneOverview"

func (a *API) listOverviews(r *http.Request) (answer, error) {
	q, err := parseQuery(r, policy.TypeDataplane)
	if err != nil {
		return answer{}, err
	}
	all, err := a.find(r, policy.TypeDataplane, q)
	if err != nil {
		return answer{}, err
	}
	var shown []policy.Resource
	ans := page(&q, r, all, placeOf, func(r policy.Resource) any { shown = append(shown, r); return r })
	known := a.Fleet.Know(r.Context(), Question{Mesh: r.PathValue("mesh"), Proxies: namesOf(shown), About: AboutInsight})
	for i, d := range shown {
		ans.body.(listBody).Items[i] = overview(d.(*policy.Dataplane), known)
	}
	ans.warning = known.warning()
	return ans, nil
}

func (a *API) getOverview(r *http.Request) (answer, error) {
	k, _ := policy.KindOf(policy.TypeDataplane)
	key, err := a.keyOf(r, k)
	if err != nil {
		return answer{}, err
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	d, err := a.Registry.Store.Get(r.Context(), key)
	if err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{Mesh: key.Mesh, Proxies: []string{key.Name}, About: AboutInsight})
	return answer{body: overview(d.(*policy.Dataplane), known), warning: known.warning()}, nil
}

// overview is a Dataplane with what was seen of its proxy.
func overview(d *policy.Dataplane, seen Watcher) *policy.DataplaneOverview {
	o := &policy.DataplaneOverview{
		Meta:      d.Meta,
		Dataplane: policy.DataplaneSpec{Networking: d.Networking},
		Insight:   seen.Insight(d.Key()),
	}
	o.Type = typeOverview
	return o
}

// namesOf are the names of resources.
func namesOf(all []policy.Resource) []string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.Metadata().Name
	}
	return names
}
