package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/gui"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// NewAPI is an API with functions in the place of its seams.
func NewAPI(cfg settings.Config, s store.Store, issue func(token.Claims) (token.Raw, error), insight func(policy.Key) policy.DataplaneInsight, log *slog.Logger) http.Handler {
	a := newTestAPI(cfg, s, issue, insight, log)
	return a.Handler(a.Routes())
}

// NewAdminAPI is what the admin server serves, with functions in the place of the seams.
func NewAdminAPI(cfg settings.Config, s store.Store, issue func(token.Claims) (token.Raw, error), log *slog.Logger) http.Handler {
	a := newTestAPI(cfg, s, issue, nil, log)
	return a.Handler(a.AdminRoutes())
}

func newTestAPI(cfg settings.Config, s store.Store, issue issueFunc, insight insightFunc, log *slog.Logger) *API {
	offline, _ := cfg.Issues()
	a := &API{
		Config: cfg, Shown: cfg, Registry: registry.Registry{Store: s, Offline: !offline}, Issuer: issue, Fleet: lone{insight},
		Log: log, InstanceID: "test-cp", Version: "dev", DPPort: 5678, AdminPort: 5679,
		Strangers: &Strangers{Count: prometheus.NewCounter(prometheus.CounterOpts{Name: "strangers"})},
	}
	a.GUI, a.Refused = gui.New(a, log), func() []gui.Refusal { return nil }
	return a
}

type issueFunc func(token.Claims) (token.Raw, error)

func (f issueFunc) Issue(_ context.Context, c token.Claims) (token.Raw, string, error) {
	raw, err := f(c)
	return raw, "1", err
}

// lone is a control plane that knows its proxies by a function.
type lone struct{ insight insightFunc }

func (l lone) Know(context.Context, Question) Knowledge { return Knowledge{Watcher: l.insight} }

func (lone) ControlPlanes() []policy.ControlPlaneOverview { return nil }

type insightFunc func(policy.Key) policy.DataplaneInsight

func (f insightFunc) Insight(k policy.Key) policy.DataplaneInsight { return f(k) }

func (insightFunc) Identity(policy.Key) policy.ProxyIdentity { return policy.ProxyIdentity{} }

func (insightFunc) Tokens(string) []TokenInUse { return nil }

// TokenUse is what the API tells of the token by which a proxy is connected. err is why the token itself would not be let
// in now; d is the Dataplane, nil if there is none.
func TokenUse(proxy policy.Key, c token.Claims, err error, d *policy.Dataplane) policy.TokenUse {
	return (&TokenInUse{proxy, c, err}).use(d)
}

// Routes are all routes of the API.
func Routes() []Route { return (&API{}).Routes() }

// Admin reports whether the request is an administrator's.
func Admin(r *http.Request) bool { return (&API{Config: settings.Default()}).identify(r).admin }
