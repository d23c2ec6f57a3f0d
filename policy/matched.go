package policy

// MatchedPolicies are the policies that decide about a Dataplane, as `GET /meshes/{mesh}/dataplanes/{name}/policies` answers
// them. P is a policy, or as much of it as somebody wants to know.
type MatchedPolicies[P any] struct {
	Total int                 `json:"total"`
	Kind  string              `json:"kind"` // "SidecarDataplane"
	Items []MatchedInbound[P] `json:"items"`
}

// MatchedInbound is one inbound with the policies that decide about it, by type.
type MatchedInbound[P any] struct {
	Type            string       `json:"type"` // "inbound"
	Name            string       `json:"name"` // address, port, and that of the workload: 192.0.2.1:8080:80
	Service         string       `json:"service"`
	MatchedPolicies map[Type][]P `json:"matchedPolicies"`
}
