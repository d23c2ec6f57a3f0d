package api

import (
	"net/http"

	"koguma/cp/problem"
)

// maxAttempt is how much is logged of a path that leads nowhere, in bytes. Somebody may have put a token into it; what is
// left of that is good for nothing.
const maxAttempt = 100

// audit leaves a line for what only administrators may do, whether it was done or not; where others keep trying, for one attempt of
// many. What failed may have been done all the same.
func (a *API) audit(r *http.Request, who caller, more []any, status int, reason string) {
	if !who.admin {
		suppressed, ok := a.Strangers.add(r.RemoteAddr)
		if !ok {
			return
		}
		if suppressed > 0 {
			more = append(more, "suppressed", suppressed)
		}
	}
	attrs := append([]any{"actor", who.name, "peer", r.RemoteAddr, "verb", r.Method, "object", r.URL.Path, "status", status}, who.audit()...)
	outcome := "done"
	if reason != "" {
		outcome = "refused"
		attrs = append(attrs, "reason", reason)
	}
	if status >= http.StatusInternalServerError {
		outcome = "failed"
	}
	a.Log.Info("audit", append(append(attrs, more...), "outcome", outcome)...)
}

// turnAway answers what never came to a route, or was lost in one. What would have changed something has a line in the audit
// log, as if there had been one.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	a.fail(w, r, p)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return
	}
	clip := func(s string) string { return s[:min(len(s), maxAttempt)] }
	attempt := r.Clone(r.Context())
	attempt.Method, attempt.URL.Path = clip(r.Method), clip(r.URL.Path)
	a.audit(attempt, a.identify(r), nil, p.Status, clip(p.Error()))
}
