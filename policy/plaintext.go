package policy

import "time"

// PlaintextReport is what an agent tells the control plane of the inbounds of its proxy that take plaintext as well.
type PlaintextReport struct {
	Inbounds []PlaintextCount `json:"inbounds"`
}

// PlaintextCount is what came to one inbound without mTLS since it takes that, or since the agent was started, as Envoy
// counted it. Times are ages, because the clocks of two hosts may differ.
type PlaintextCount struct {
	Listener    string   `json:"listener"`    // the name of the listener
	Connections uint64   `json:"connections"` // in plaintext
	Requests    uint64   `json:"requests"`    // HTTP requests in plaintext
	ForeignTLS  uint64   `json:"foreignTLS"`  // connections with TLS that is not that of the mesh
	Since       Duration `json:"since"`       // how long it has been counted
	Seen        Duration `json:"seen"`        // how long ago anything came over one of them; more than Since if nothing ever did
}

// InboundMTLS is one inbound in `GET /meshes/{mesh}/_mtls`. The counts are those of a [PlaintextCount].
type InboundMTLS struct {
	Proxy       string    `json:"proxy"` // the name of its Dataplane
	Service     string    `json:"service"`
	Address     string    `json:"address"` // where Envoy listens
	Connections uint64    `json:"connections"`
	Requests    uint64    `json:"requests"`
	ForeignTLS  uint64    `json:"foreignTLS"`
	Since       time.Time `json:"since,omitzero"`    // zero: its proxy has reported nothing
	LastSeen    time.Time `json:"lastSeen,omitzero"` // zero: nothing came
}

// MeshMTLS is what `GET /meshes/{mesh}/_mtls` answers: how the traffic of a mesh is protected, and who still speaks to
// whom without that.
type MeshMTLS struct {
	Mesh    string        `json:"mesh"`
	Mode    string        `json:"mode"`              // STRICT, PERMISSIVE or OFF
	Backend string        `json:"backend,omitempty"` // the one that is enabled
	Total   int           `json:"total"`
	Items   []InboundMTLS `json:"items"`
}
