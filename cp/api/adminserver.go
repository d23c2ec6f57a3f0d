package api

import (
	"net/http"
	"slices"
	"strings"

	"koguma/cp/problem"
)

// AdminRoutes are what clients of the first versions call at a port of its own: tokens, in the form of that time, and
// secrets. All else about them, who may and what is refused, is as in the API.
func (a *API) AdminRoutes() []Route {
	secrets := slices.DeleteFunc(a.Routes(), func(r Route) bool {
		return !strings.HasPrefix(r.Path, "/secrets") && !strings.HasPrefix(r.Path, "/meshes/{mesh}/secrets")
	})
	return append(secrets, a.oldTokenRoute())
}

// PublicAdminRoutes are for administrators of other machines: the whole API, and tokens in the old form.
func (a *API) PublicAdminRoutes() []Route { return append(a.Routes(), a.oldTokenRoute()) }

func (a *API) oldTokenRoute() Route {
	return Route{"POST", "/tokens", administrators, "Could not issue a token", a.issueOldToken}
}

// issueOldToken is issueToken for those who know neither a validity nor tokens that are bound to nothing but a mesh:
// who forgets the name must not get one.
func (a *API) issueOldToken(r *http.Request) (answer, error) {
	return a.issue(r, func(req *tokenRequest) error {
		if req.Name == "" && len(req.Tags) == 0 {
			return problem.Parameter("name", "missing; give the name of the Dataplane, or tags. A token for a whole mesh is made at POST /tokens/dataplane of the API")
		}
		return nil
	})
}

// DiscoveryRoutes are what a client needs to find the rest.
func (a *API) DiscoveryRoutes() []Route {
	return slices.DeleteFunc(a.Routes(), func(r Route) bool { return r.Path != "/{$}" && r.Path != "/catalog" })
}
