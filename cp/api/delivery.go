package api

import (
	"net/http"
	"net/url"
	"strconv"

	"koguma/cp/problem"
	"koguma/policy"
)

// versionHeader carries the version of the store with which something was written, or read, so that one can ask when
// everybody has it.
const versionHeader = "Koguma-Version"

// Courier knows how far the proxies are with what was written.
type Courier interface {
	// Delivery is how far the proxies of a mesh are with what was written up to that version of the store; all are those
	// that there should be.
	Delivery(mesh string, version uint64, all []policy.Key) policy.Delivery
}

// getDelivery answers at once, whoever is still waited for.
func (a *API) getDelivery(r *http.Request) (answer, error) {
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
	dataplanes, err := a.Registry.Store.List(r.Context(), policy.TypeDataplane, mesh)
	if err != nil {
		return answer{}, err
	}
	keys := make([]policy.Key, len(dataplanes))
	for i, d := range dataplanes {
		keys[i] = d.Metadata().Key()
	}
	known := a.Fleet.Know(r.Context(), Question{Mesh: mesh, About: AboutDelivery, Version: version})
	return answer{body: known.Delivery(mesh, version, keys)}, nil
}
