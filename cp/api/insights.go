package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
)

// insightRoutes are those that sum up what there is. Nothing of it is kept: it is counted when somebody asks.
func (a *API) insightRoutes() []Route {
	const title = "Could not retrieve insights"
	return []Route{
		{"GET", "/global-insight", everybody, title, a.globalInsight},
		{"GET", "/mesh-insights", everybody, title, a.listMeshInsights},
		{"GET", "/mesh-insights/{name}", everybody, title, a.getMeshInsight},
		{"GET", "/service-insights", everybody, title, a.listServiceInsights},
		{"GET", "/meshes/{mesh}/service-insights", everybody, title, a.listServiceInsights},
		{"GET", "/meshes/{mesh}/service-insights/{name}", everybody, title, a.getServiceInsight},
	}
}

// overviews are all Dataplanes of a mesh, or of all for "", with what was seen of their proxies.
func (a *API) overviews(ctx context.Context, mesh string, seen Watcher) ([]*policy.DataplaneOverview, error) {
	found, err := a.Registry.Store.List(ctx, policy.TypeDataplane, mesh)
	if err != nil {
		return nil, err
	}
	all := make([]*policy.DataplaneOverview, len(found))
	for i, d := range found {
		all[i] = overview(d.(*policy.Dataplane), seen)
	}
	return all, nil
}

func (a *API) globalInsight(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{About: AboutInsight})
	all, err := a.overviews(r.Context(), "", known)
	if err != nil {
		return answer{}, err
	}
	g := policy.GlobalInsight{Resources: map[policy.Type]policy.Count{}}
	for _, o := range all {
		countByType(&g.Dataplanes, o)
	}
	for _, s := range serviceInsights(all) {
		g.Services.Internal.Add(s.Dataplanes.Status())
	}
	for _, k := range policy.Kinds() {
		found, err := a.Registry.Store.List(r.Context(), k.Type, "")
		if err != nil {
			return answer{}, err
		}
		g.Resources[k.Type] = policy.Count{Total: len(found)}
		if k.IsPolicy() {
			g.Policies.Total += len(found)
		}
	}
	g.Meshes = g.Resources[policy.TypeMesh]
	return answer{body: g, warning: known.warning()}, nil
}

func (a *API) listMeshInsights(r *http.Request) (answer, error) {
	q, err := parseQuery(r, policy.TypeMesh)
	if err != nil {
		return answer{}, err
	}
	meshes, err := a.find(r, policy.TypeMesh, q)
	if err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{About: AboutInsight})
	var all []policy.MeshInsight
	for _, m := range meshes {
		i, err := a.meshInsight(r.Context(), m.(*policy.Mesh), known)
		if err != nil {
			return answer{}, err
		}
		all = append(all, i)
	}
	ans := page(&q, r, all, func(i policy.MeshInsight) string { return i.Name }, func(i policy.MeshInsight) any { return i })
	ans.warning = known.warning()
	return ans, nil
}

func (a *API) getMeshInsight(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	name := r.PathValue("name")
	if err := policy.ValidMeshName(name); err != nil {
		return answer{}, problem.Parameter("name", err.Error())
	}
	m, err := a.Registry.Mesh(r.Context(), name)
	if err != nil {
		return answer{}, err
	}
	known := a.Fleet.Know(r.Context(), Question{Mesh: name, About: AboutInsight})
	i, err := a.meshInsight(r.Context(), m, known)
	return answer{body: i, warning: known.warning()}, err
}

// meshInsight counts what there is in a mesh.
func (a *API) meshInsight(ctx context.Context, m *policy.Mesh, seen Watcher) (policy.MeshInsight, error) {
	i := policy.MeshInsight{
		Meta:     policy.Meta{Type: policy.TypeMeshInsight, Name: m.Name, CreationTime: m.CreationTime, ModificationTime: m.ModificationTime},
		Policies: map[policy.Type]policy.Count{},
		Versions: policy.CountByVersion{KumaDP: map[string]policy.DataplaneCount{}, Envoy: map[string]policy.DataplaneCount{}},
		MTLS:     policy.CountByBackend{IssuedBackends: map[string]policy.DataplaneCount{}},
	}
	all, err := a.overviews(ctx, m.Name, seen)
	if err != nil {
		return i, err
	}
	for _, o := range all {
		i.Dataplanes.Add(o.Status())
		countByType(&i.DataplanesByType, o)
		var v policy.ProxyVersion
		if n := len(o.Insight.Subscriptions); n > 0 {
			v = o.Insight.Subscriptions[n-1].Version
		}
		count(i.Versions.KumaDP, cmp.Or(v.KumaDP.Version, "unknown"), o)
		count(i.Versions.Envoy, cmp.Or(v.Envoy.Version, "unknown"), o)
		if o.Insight.MTLS != nil {
			count(i.MTLS.IssuedBackends, o.Insight.MTLS.IssuedBackend, o)
		}
	}
	services := len(serviceInsights(all))
	i.Services = policy.ServiceCount{Total: services, Internal: services}
	for _, k := range policy.Kinds() {
		if !k.IsPolicy() {
			continue
		}
		found, err := a.Registry.Store.List(ctx, k.Type, m.Name)
		if err != nil {
			return i, err
		}
		i.Policies[k.Type] = policy.Count{Total: len(found)}
	}
	return i, nil
}

func count(by map[string]policy.DataplaneCount, name string, o *policy.DataplaneOverview) {
	c := by[name]
	c.Add(o.Status())
	by[name] = c
}

func countByType(by *policy.CountByProxyType, o *policy.DataplaneOverview) {
	if o.Dataplane.Networking.Gateway != nil {
		by.GatewayDelegated.Add(o.Status())
		return
	}
	by.Standard.Add(o.Status())
}

func (a *API) listServiceInsights(r *http.Request) (answer, error) {
	q, err := parseQuery(r, "")
	if err != nil {
		return answer{}, err
	}
	mesh := r.PathValue("mesh")
	if mesh != "" {
		if err := a.checkMesh(r, mesh); err != nil {
			return answer{}, err
		}
	}
	all, warning, err := a.serviceInsights(r.Context(), mesh)
	if err != nil {
		return answer{}, err
	}
	services := slices.DeleteFunc(all, func(s policy.ServiceInsight) bool { return !q.inName(s.Name) })
	ans := page(&q, r, services, func(s policy.ServiceInsight) string { return placeIn(s.Mesh, s.Name) }, func(s policy.ServiceInsight) any { return s })
	ans.warning = warning
	return ans, nil
}

func (a *API) getServiceInsight(r *http.Request) (answer, error) {
	if err := noQuery(r); err != nil {
		return answer{}, err
	}
	mesh, name := r.PathValue("mesh"), r.PathValue("name")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	all, warning, err := a.serviceInsights(r.Context(), mesh)
	if err != nil {
		return answer{}, err
	}
	for _, s := range all {
		if s.Name == name {
			return answer{body: s, warning: warning}, nil
		}
	}
	return answer{}, problem.Refuse(http.StatusNotFound, "Could not retrieve insights", fmt.Sprintf("no Dataplane of mesh %q stands for service %q", mesh, name))
}

// serviceInsights is how the services of a mesh are, or of all for "", and what of that is not known.
func (a *API) serviceInsights(ctx context.Context, mesh string) (all []policy.ServiceInsight, warning string, err error) {
	known := a.Fleet.Know(ctx, Question{Mesh: mesh, About: AboutInsight})
	overviews, err := a.overviews(ctx, mesh, known)
	return serviceInsights(overviews), known.warning(), err
}

// serviceInsights counts the proxies of each service, sorted by mesh and name.
func serviceInsights(all []*policy.DataplaneOverview) []policy.ServiceInsight {
	services := map[policy.Key]*policy.ServiceInsight{}
	for _, o := range all {
		d := policy.Dataplane{Networking: o.Dataplane.Networking}
		for _, name := range d.Services() {
			key := policy.Key{Type: policy.TypeServiceInsight, Mesh: o.Mesh, Name: name}
			s := services[key]
			if s == nil {
				s = &policy.ServiceInsight{Meta: policy.Meta{Type: key.Type, Mesh: key.Mesh, Name: key.Name}, IssuedBackends: map[string]int{}}
				services[key] = s
			}
			s.Dataplanes.Add(o.Status())
			if o.Insight.MTLS != nil {
				s.IssuedBackends[o.Insight.MTLS.IssuedBackend]++
			}
		}
	}
	sorted := make([]policy.ServiceInsight, 0, len(services))
	for _, key := range slices.SortedFunc(maps.Keys(services), policy.Key.Compare) {
		s := services[key]
		s.Status = strings.ReplaceAll(strings.ToLower(string(s.Dataplanes.Status())), " ", "_")
		sorted = append(sorted, *s)
	}
	return sorted
}
