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
