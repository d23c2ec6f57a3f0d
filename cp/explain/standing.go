package explain

import (
	"koguma/policy"
	"koguma/xds"
)

// Standing is how a proxy stands: what it has said that it has, and what it lacks.
type Standing struct {
	Connected bool
	Ending    Ending // of its last session, if it is not connected

	Listeners, Clusters, Endpoints *xds.View // that what it has follows from; nil if it has none
	Secrets                        *xds.Set
	Lacks                          []policy.Pending
	Fault                          string // why it has no certificate, as far as that is on this side
	Token                          string // the id of that by which it is, or was, connected
}
