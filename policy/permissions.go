package policy

import (
	"slices"
	"strings"
)

// Permissions are all of a mesh, arranged for the question which of them decide about an inbound. They are for one goroutine.
// The zero value has none.
type Permissions struct {
	traffic []*TrafficPermission
	mesh    []*MeshTrafficPermission

	trafficTo map[string][]*TrafficPermission     // by service, "" has those for any
	meshTo    map[string][]*MeshTrafficPermission // ..., each in order
	merged    map[string]*Merged                  // by the names of those that are merged
}

// NewPermissions arranges the permissions.
func NewPermissions(traffic []*TrafficPermission, mesh []*MeshTrafficPermission) Permissions {
	p := Permissions{traffic: traffic, mesh: mesh, trafficTo: map[string][]*TrafficPermission{},
		meshTo: map[string][]*MeshTrafficPermission{}, merged: map[string]*Merged{}}
	for _, t := range traffic {
		for i := range t.Destinations {
			service := t.Destinations[i].source().Service
			if of := p.trafficTo[service]; len(of) == 0 || of[len(of)-1] != t {
				p.trafficTo[service] = append(of, t)
			}
		}
	}
	for _, m := range slices.SortedFunc(slices.Values(mesh), (*MeshTrafficPermission).stronger) {
		service := ""
		if t := m.Spec.TargetRef; t != nil && t.Kind != TargetDataplane {
			service = t.source().Service
		}
		p.meshTo[service] = append(p.meshTo[service], m)
	}
	return p
}

// Match is the TrafficPermission that decides about an inbound with these tags where no MeshTrafficPermission does, as
// [Match] has it.
func (p Permissions) Match(tags map[string]string) *TrafficPermission {
	return Match(slices.Concat(p.trafficTo[tags[TagService]], p.trafficTo[""]), tags)
}

// Merge is what the MeshTrafficPermissions say together that are for an inbound, the same value for the same ones; nil if
// none is.
func (p Permissions) Merge(d *Dataplane, in *Inbound) *Merged {
	if len(p.mesh) == 0 {
		return nil
	}
	var found []*MeshTrafficPermission
	for _, m := range slices.Concat(p.meshTo[in.Service()], p.meshTo[""]) {
		if m.Spec.TargetRef.selects(d, in) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil
	}
	var key strings.Builder
	for _, m := range found {
		key.WriteString(m.Name + "\n")
	}
	merged := p.merged[key.String()]
	if merged == nil {
		slices.SortFunc(found, (*MeshTrafficPermission).stronger)
		merged = merge(found)
		p.merged[key.String()] = merged
	}
	return merged
}

// with is the permissions with one more, or with one in the place of that of its type and name.
func (p Permissions) with(r Resource) Permissions {
	switch r := r.(type) {
	case *TrafficPermission:
		others := slices.DeleteFunc(slices.Clone(p.traffic), func(o *TrafficPermission) bool { return o.Name == r.Name })
		return NewPermissions(append(others, r), p.mesh)
	case *MeshTrafficPermission:
		others := slices.DeleteFunc(slices.Clone(p.mesh), func(o *MeshTrafficPermission) bool { return o.Name == r.Name })
		return NewPermissions(p.traffic, append(others, r))
	}
	return p
}
