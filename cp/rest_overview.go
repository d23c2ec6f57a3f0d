package cp

import (
	"net/http"

	"koguma/policy"
)

// typeOverview is the "type" of an overview.
const typeOverview policy.Type = "DataplaneOverview"

func (a *api) listOverviews(r *http.Request) (answer, error) {
	q, err := parseQuery(r, policy.TypeDataplane)
	if err != nil {
		return answer{}, err
	}
	all, err := a.find(r, policy.TypeDataplane, q)
	if err != nil {
		return answer{}, err
	}
	return page(&q, r, all, placeOf, a.overview), nil
}

func (a *api) getOverview(r *http.Request) (answer, error) {
	k, _ := policy.KindOf(policy.TypeDataplane)
	key, err := a.keyOf(r, k)
	if err != nil {
		return answer{}, err
	}
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	d, err := a.resources.store.Get(r.Context(), key)
	if err != nil {
		return answer{}, err
	}
	return answer{body: a.overview(d)}, nil
}

func (a *api) overview(r policy.Resource) any { return a.overviewOf(r.(*policy.Dataplane)) }

// overviewOf is a Dataplane with what was seen of its proxy.
func (a *api) overviewOf(d *policy.Dataplane) *policy.DataplaneOverview {
	o := &policy.DataplaneOverview{
		Meta:      d.Meta,
		Dataplane: policy.DataplaneSpec{Networking: d.Networking},
		Insight:   a.watcher.Insight(d.Key()),
	}
	o.Type = typeOverview
	return o
}
