package cp

import (
	"net/http"
	"slices"
	"strings"

	"koguma/cp/problem"
)

// adminRoutes are what clients of the first versions call at a port of its own: tokens, in the form of that time, and
// secrets. All else about them, who may and what is refused, is as in the API.
func (a *api) adminRoutes() []route {
	secrets := slices.DeleteFunc(a.routes(), func(r route) bool {
		return !strings.HasPrefix(r.path, "/secrets") && !strings.HasPrefix(r.path, "/meshes/{mesh}/secrets")
	})
	return append(secrets, a.oldTokenRoute())
}

// publicAdminRoutes are for administrators of other machines: the whole API, and tokens in the old form.
func (a *api) publicAdminRoutes() []route { return append(a.routes(), a.oldTokenRoute()) }

func (a *api) oldTokenRoute() route {
	return route{"POST", "/tokens", administrators, "Could not issue a token", a.issueOldToken}
}

// issueOldToken is issueToken for those who know neither a validity nor tokens that are bound to nothing but a mesh:
// who forgets the name must not get one.
func (a *api) issueOldToken(r *http.Request) (answer, error) {
	return a.issue(r, func(req *tokenRequest) error {
		if req.Name == "" && len(req.Tags) == 0 {
			return problem.Parameter("name", "missing; give the name of the Dataplane, or tags. A token for a whole mesh is made at POST /tokens/dataplane of the API")
		}
		return nil
	})
}
