package policy

import (
	"net"
	"time"
)

// ControlPlane is a control plane that works on the store, for the others that do to find it. Its name is its instance id.
// Each keeps its own, and one that is no longer renewed is of a control plane that is gone.
type ControlPlane struct {
	Meta
	Address string    `json:"address"` // host and port where the others reach it
	Started time.Time `json:"started"`
	Release string    `json:"release"` // the version of its program
	Beat    uint64    `json:"beat"`    // how often it was renewed
}

// Validate implements [Resource].
func (c *ControlPlane) Validate() error {
	var bad problems
	bad.checkMeta(&c.Meta, TypeControlPlane)
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		bad.add("address", "must be a host and a port: %v", err)
	}
	return bad.err()
}

// ControlPlanes are the control planes of one store as one of them sees them, as `GET /control-planes` answers it.
type ControlPlanes struct {
	Total int                    `json:"total"`
	Items []ControlPlaneOverview `json:"items"`
}

// ControlPlaneOverview is a control plane as one sees it.
type ControlPlaneOverview struct {
	InstanceID string `json:"instanceId"`
	Address    string `json:"address,omitempty"` // where the others reach it; "" where there can be no others
	Version    string `json:"version"`           // of its program
	Status     string `json:"status"`            // ControlPlaneSelf, ControlPlaneHeard or ControlPlaneUnheard
	// Since is when it began to be like this.
	Since   time.Time `json:"since"`
	Proxies int       `json:"proxies"` // that are connected to it, as far as is known
}

// How a control plane is seen.
const (
	ControlPlaneSelf    = "self"    // it is the one that was asked
	ControlPlaneHeard   = "heard"   // it tells of its proxies
	ControlPlaneUnheard = "unheard" // it does not answer, and may have proxies in any state
)
