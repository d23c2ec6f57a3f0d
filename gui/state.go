package gui

import (
	"time"

	"koguma/policy"
)

// State is what a control plane knows of a mesh at one moment. All that it points to is shared, and changed by nobody.
type State struct {
	Meshes      []string     // the names of all, sorted
	Name        string       // of the mesh that this is about
	Mesh        *policy.Mesh // nil: there is none of that name
	Dataplanes  []*policy.Dataplane
	Traffic     []*policy.TrafficPermission
	MeshTraffic []*policy.MeshTrafficPermission
	Trust       policy.TrustOverview
	Proxies     []Proxy
	Refusals    []Refusal // of proxies of whichever mesh, the newest first
	Silent      []string  // which control planes do not answer, and so what is not known
}

// Condition is how a proxy is.
type Condition string

// The conditions, from the worst to the best.
const (
	Out     Condition = "out"     // judged, and put out
	Refused Condition = "refused" // connected, and its Envoy has refused what it should have
	Behind  Condition = "behind"  // connected, and has not taken all for a while
	Offline Condition = "offline" // not connected
	Online  Condition = "online"
)

// Proxy is a Dataplane and what was seen of its proxy.
type Proxy struct {
	Name        string       `json:"name"`
	Services    []string     `json:"services"`
	Address     string       `json:"address"`
	Condition   Condition    `json:"condition"`
	Since       time.Time    `json:"since,omitzero"` // when it was connected, or ceased to be
	Why         string       `json:"why,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Token       *Token       `json:"token,omitempty"` // nil: it is connected without one
}

// Certificate is that of the first service of a proxy.
type Certificate struct {
	Made    time.Time `json:"made"`
	Ends    time.Time `json:"ends"`
	Backend string    `json:"backend"` // that signed it
}

// Token is that by which a proxy is, or was, connected.
type Token struct {
	Ends time.Time `json:"ends"`
	// Fault is why it would not be let in now, "" if it would.
	Fault string `json:"fault,omitempty"`
}

// Refusal is a proxy that was not let in.
type Refusal struct {
	Time   time.Time `json:"time"`
	Verb   string    `json:"verb"` // what it wanted: connect, or bootstrap
	Peer   string    `json:"peer"` // its address
	Node   string    `json:"node"` // who it said it was; anybody may say anything
	Check  string    `json:"check"`
	Reason string    `json:"reason"`
	// More is how many more there were of the same peer, of which nothing else is kept.
	More int `json:"more,omitempty"`
}
