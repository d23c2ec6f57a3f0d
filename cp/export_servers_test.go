package cp

import (
	"net/http"

	"koguma/cp/api"
	"koguma/cp/settings"
)

// Servers are the routes of each server that a control plane may have.
func Servers() map[string][]api.Route {
	all := map[string][]api.Route{}
	cfg := settings.Default()
	cfg.APIServer.HTTPS.Enabled, cfg.AdminServer.Public.Enabled = true, true
	for _, s := range (&ControlPlane{cfg: cfg}).apiServers(&api.API{}) {
		all[s.setting+" at "+s.host] = s.routes
	}
	return all
}

// NewDiagnostics is newDiagnostics.
func NewDiagnostics(ready func() error, warnings []string, metrics http.Handler) http.Handler {
	return newDiagnostics(ready, warnings, metrics)
}
