package cp

import (
	"context"
	"log/slog"
	"net/http"

	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// NewAPI is newAPI, with functions in the place of its seams.
func NewAPI(cfg settings.Config, s store.Store, issue func(token.Claims) (token.Raw, error), insight func(policy.Key) policy.DataplaneInsight, log *slog.Logger) http.Handler {
	a := newTestAPI(cfg, s, issue, insight, log)
	return a.handler(a.routes())
}

// NewAdminAPI is what the admin server serves, with functions in the place of the seams.
func NewAdminAPI(cfg settings.Config, s store.Store, issue func(token.Claims) (token.Raw, error), log *slog.Logger) http.Handler {
	a := newTestAPI(cfg, s, issue, nil, log)
	return a.handler(a.adminRoutes())
}

func newTestAPI(cfg settings.Config, s store.Store, issue issueFunc, insight insightFunc, log *slog.Logger) *api {
	offline, _ := cfg.Issues()
	return &api{
		cfg: cfg, resources: registry.Registry{Store: s, Offline: !offline}, issuer: issue, watcher: insight,
		log: log, instanceID: "test-cp", dpPort: 5678, adminPort: 5679, strangers: newStrangers(newMetrics()),
	}
}

type issueFunc func(token.Claims) (token.Raw, error)

func (f issueFunc) Issue(_ context.Context, c token.Claims) (token.Raw, string, error) {
	raw, err := f(c)
	return raw, "1", err
}

type insightFunc func(policy.Key) policy.DataplaneInsight

func (f insightFunc) Insight(k policy.Key) policy.DataplaneInsight { return f(k) }

func (insightFunc) Identity(policy.Key) policy.ProxyIdentity { return policy.ProxyIdentity{} }

func (insightFunc) Tokens(string) []tokenInUse { return nil }

// TokenUse is what the API tells of the token by which a proxy is connected. err is why the token itself would not be let
// in now; d is the Dataplane, nil if there is none.
func TokenUse(proxy policy.Key, c token.Claims, err error, d *policy.Dataplane) policy.TokenUse {
	return (&tokenInUse{proxy, c, err}).use(d)
}

// Route is a route as tests see it.
type Route struct {
	Method, Path  string
	Open, Guarded bool // for everybody, for administrators
}

// Routes are all routes of the API.
func Routes() []Route { return routesOf((&api{}).routes()) }

// Servers are the routes of each server that a control plane may have.
func Servers() map[string][]Route {
	all := map[string][]Route{}
	cfg := settings.Default()
	cfg.APIServer.HTTPS.Enabled, cfg.AdminServer.Public.Enabled = true, true
	for _, s := range (&ControlPlane{cfg: cfg}).apiServers(&api{}) {
		all[s.setting+" at "+s.host] = routesOf(s.routes)
	}
	return all
}

func routesOf(routes []route) []Route {
	var all []Route
	for _, r := range routes {
		all = append(all, Route{r.method, r.path, r.access == everybody, r.access == administrators || r.access == administratorsUnaudited})
	}
	return all
}

// Admin reports whether the request is an administrator's.
func Admin(r *http.Request) bool { return (&api{cfg: settings.Default()}).identify(r).admin }

// NewHTTPServer is newHTTPServer.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server { return newHTTPServer(h, log) }

// NewDiagnostics is newDiagnostics.
func NewDiagnostics(ready func() error, warnings []string, metrics http.Handler) http.Handler {
	return newDiagnostics(ready, warnings, metrics)
}
