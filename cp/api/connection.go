package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"koguma/cp/explain"
	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
)

// getConnection says whether one service or proxy reaches another, and why.
func (a *API) getConnection(r *http.Request) (answer, error) {
	if err := a.checkMesh(r, r.PathValue("mesh")); err != nil {
		return answer{}, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, problem.Parameter("query", "cannot be read: "+err.Error())
	}
	for name, values := range q {
		if name != "from" && name != "to" && name != "port" || len(values) > 1 {
			return answer{}, problem.Parameter(name, "there are from, to and port here, each once")
		}
	}
	for _, name := range []string{"from", "to"} {
		if q.Get(name) == "" {
			return answer{}, problem.Parameter(name, "must be given: a service, or the name of a Dataplane; service: or proxy: before it says which")
		}
	}
	port := 0
	if q.Has("port") {
		if port, err = number("port", q.Get("port"), 1, 65535); err != nil {
			return answer{}, err
		}
	}
	x, err := a.explainer(r.Context(), r.PathValue("mesh"))
	if err != nil {
		return answer{}, err
	}
	return answer{body: x.Connection(q.Get("from"), q.Get("to"), port)}, nil
}

// explainer is that of a mesh.
func (a *API) explainer(ctx context.Context, mesh string) (*explain.Explainer, error) {
	m, err := a.Registry.Mesh(ctx, mesh)
	if err != nil {
		return nil, err
	}
	permissions, err := permissionsOf(ctx, a.Registry.Store, mesh)
	if err != nil {
		return nil, err
	}
	dataplanes, err := store.ListOf[*policy.Dataplane](ctx, a.Registry.Store, policy.TypeDataplane, "")
	if err != nil {
		return nil, err
	}
	meet := func(proxies []string) (explain.Confidant, []string) {
		known := a.Fleet.Know(ctx, Question{Mesh: mesh, Proxies: proxies, About: AboutStanding})
		return known, known.Silent
	}
	return &explain.Explainer{Mesh: m, Permissions: permissions, Dataplanes: dataplanes, Now: time.Now(), Meet: meet}, nil
}
