package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Merged is what all MeshTrafficPermissions for an inbound say together. It is not changed once made.
type Merged struct {
	// Permissions are those that are for the inbound, the one that goes before all others first.
	Permissions []*MeshTrafficPermission
	clauses     []clause // the first that fits a peer decides about it; nobody gets in whom none fits
}

// clause is what one element of a MeshTrafficPermission says.
type clause struct {
	of     *MeshTrafficPermission
	field  string // within the spec
	source Source
	action Action
}

// String names the clause.
func (c *clause) String() string {
	return fmt.Sprintf("%s of MeshTrafficPermission %q", c.field, c.of.Name)
}

// merge is what the permissions say together, the strongest of which is the first.
//
// A Deny of rules goes before everything. Then from decides, the strongest permission first and of each the last element
// first, as later ones go before earlier ones; and whom none of these picks, the other rules let in.
func merge(permissions []*MeshTrafficPermission) *Merged {
	m := &Merged{Permissions: permissions}
	var from, shadow, allow []clause
	for _, p := range permissions {
		for i := range slices.Backward(p.Spec.From) {
			f := &p.Spec.From[i]
			from = append(from, clause{p, fmt.Sprintf("from[%d]", i), f.TargetRef.source(), f.Default.Action})
		}
		p.eachMatch(func(field string, action Action, match *IdentityMatch) {
			c := clause{p, field, match.source(p.Mesh), action}
			switch action {
			case Deny:
				m.clauses = append(m.clauses, c)
			case ShadowDeny:
				shadow = append(shadow, c)
			default:
				allow = append(allow, c)
			}
		})
	}
	m.clauses = slices.Concat(m.clauses, from, shadow, allow)
	return m
}

// Admitted is whom they let in, in the form of [TrafficPermission.Admitted].
func (m *Merged) Admitted() []Source {
	return m.sources(func(a Action) bool { return a == Allow || a == ShadowDeny })
}

// ShadowDenied is whom they let in with [ShadowDeny], in the form of [TrafficPermission.Admitted].
func (m *Merged) ShadowDenied() []Source {
	return m.sources(func(a Action) bool { return a == ShadowDeny })
}

// sources are those about whom a clause decides with such an action.
func (m *Merged) sources(is func(Action) bool) []Source {
	var all, others, before []Source
	for i := range m.clauses {
		c := &m.clauses[i]
		if slices.ContainsFunc(before, func(o Source) bool { return o.includes(c.source) }) {
			continue // it never decides
		}
		before = append(before, c.source)
		if !is(c.action) {
			others = append(others, c.source)
		} else if s, ok := c.source.without(others); ok {
			all = append(all, s)
		}
	}
	return reduce(all)
}

// source is the index of the clause that decides about the peer, -1 if none does.
func (m *Merged) source(peer Peer) int {
	return slices.IndexFunc(m.clauses, func(c clause) bool { return c.source.Admits(peer) })
}

// byTags reports whether it depends on more than the service of a peer whether it gets in.
func (m *Merged) byTags() bool {
	return slices.ContainsFunc(m.clauses, func(c clause) bool { return len(c.source.Tags) > 0 })
}

// String names the permissions.
func (m *Merged) String() string {
	all := make([]string, len(m.Permissions))
	for i, p := range m.Permissions {
		all[i] = p.Name
	}
	return names(all)
}

// Version is that of the permission that was changed last.
func (m *Merged) Version() uint64 {
	newest := slices.MaxFunc(m.Permissions, func(a, b *MeshTrafficPermission) int { return cmp.Compare(a.Version, b.Version) })
	return newest.Version
}

// stronger orders permissions: the more specific ones first, then by name.
func (p *MeshTrafficPermission) stronger(o *MeshTrafficPermission) int {
	return cmp.Or(o.Spec.TargetRef.compare(p.Spec.TargetRef), strings.Compare(p.Name, o.Name))
}
