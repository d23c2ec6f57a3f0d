package policy

import "time"

// Delivery is how far the proxies of a mesh are with what was written to the store, as `GET /meshes/{mesh}/_delivery`
// answers it.
type Delivery struct {
	Mesh string `json:"mesh"`
	// Version is that of the store up to which the control plane has told its proxies. Those of a version that it has not
	// come to yet are all pending.
	Version uint64 `json:"version"`
	Proxies int    `json:"proxies"` // that are connected
	// Pending are the proxies that have not said that they have all, and Absent those that are not connected: they get it
	// when they are.
	Pending []ProxyPending `json:"pending"`
	Absent  []AbsentProxy  `json:"absent"`
}

// ProxyPending is what a proxy lacks.
type ProxyPending struct {
	Proxy string `json:"proxy"`
	Pending
}

// AbsentProxy is a Dataplane whose proxy is not connected.
type AbsentProxy struct {
	Proxy string    `json:"proxy"`
	Why   string    `json:"why"`
	Since time.Time `json:"since,omitzero"` // zero: it never was, as far as this control plane knows
	// Lost is whether its stream just broke: nobody knows what it does.
	Lost bool `json:"lost,omitempty"`
}
