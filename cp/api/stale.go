package api

import (
	"errors"
	"time"

	"koguma/store"
)

// stale is what people who read should know while the store does not take changes; "" while it does. Why it does not is not for
// everybody.
func (a *API) stale() string {
	err := a.Registry.Store.Fault()
	switch o, ok := errors.AsType[*store.Outage](err); {
	case err == nil:
		return ""
	case ok && !o.AsOf.IsZero():
		return "the store does not answer, or takes no changes; this is what was in it at " + o.AsOf.UTC().Format(time.RFC3339)
	}
	return "the store does not answer, or takes no changes; this is what was in it"
}
