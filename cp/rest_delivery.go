package cp

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"koguma/cp/explain"
	"koguma/cp/problem"
	"koguma/policy"
)

// versionHeader carries the version of the store with which something was written, or read, so that one can ask when
// everybody has it.
const versionHeader = "Koguma-Version"

// courier knows how far the proxies are with what was written.
type courier interface {
	// delivery is how far the proxies of a mesh are with what was written up to that version of the store; all are those
	// that there should be.
	delivery(mesh string, version uint64, all []policy.Key) policy.Delivery
}

// getDelivery answers at once, whoever is still waited for.
func (a *api) getDelivery(r *http.Request) (answer, error) {
	mesh := r.PathValue("mesh")
	if err := a.checkMesh(r, mesh); err != nil {
		return answer{}, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q) != 1 || len(q["version"]) != 1 {
		return answer{}, problem.Parameter("version", "must be given once, and nothing else: the "+versionHeader+" of what was written")
	}
	version, err := strconv.ParseUint(q.Get("version"), 10, 64)
	if err != nil {
		return answer{}, problem.Parameter("version", "must be a whole number, as "+versionHeader+" has it")
	}
	dataplanes, err := a.resources.Store.List(r.Context(), policy.TypeDataplane, mesh)
	if err != nil {
		return answer{}, err
	}
	keys := make([]policy.Key, len(dataplanes))
	for i, d := range dataplanes {
		keys[i] = d.Metadata().Key()
	}
	known := a.know(r.Context(), question{Mesh: mesh, About: aboutDelivery, Version: version})
	return answer{body: known.delivery(mesh, version, keys)}, nil
}

// delivery implements courier.
func (r *reconciler) delivery(mesh string, version uint64, all []policy.Key) policy.Delivery {
	d := policy.Delivery{Mesh: mesh, Version: r.progress.of(mesh), Pending: []policy.ProxyPending{}, Absent: []policy.AbsentProxy{}}
	sessions := map[string]*session{}
	endings := map[string]explain.Ending{}
	r.mu.Lock()
	for key, s := range r.sessions {
		if key.Mesh == mesh {
			sessions[key.Name] = s
		}
	}
	for _, key := range all {
		endings[key.Name] = r.endings[key]
	}
	r.mu.Unlock()
	d.Proxies = len(sessions)
	for name, s := range sessions {
		for _, p := range s.pending(version) {
			d.Pending = append(d.Pending, policy.ProxyPending{Proxy: name, Pending: p})
		}
	}
	for name, e := range endings {
		if sessions[name] == nil {
			d.Absent = append(d.Absent, e.Absent(name))
		}
	}
	slices.SortStableFunc(d.Pending, func(a, b policy.ProxyPending) int { return cmp.Compare(a.Proxy, b.Proxy) })
	slices.SortFunc(d.Absent, func(a, b policy.AbsentProxy) int { return cmp.Compare(a.Proxy, b.Proxy) })
	return d
}
