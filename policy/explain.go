package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Explain says of a ruling under mTLS about a peer why it is as it is. It names the permission and the source that decide.
func (r Ruling) Explain(peer Peer, inbound map[string]string) Cause {
	to := inbound[TagService]
	switch {
	case r.Out != nil:
		return Cause{Code: CauseMembership, Why: r.Out.Error()}
	case r.Open:
		return Cause{Code: CauseMTLSOff, Why: "mTLS is off in the mesh: everybody gets in, in plaintext"}
	case r.Merged != nil:
		return r.explainMerged(peer)
	case r.Permission == nil:
		return Cause{Code: CauseNoPermission, Why: fmt.Sprintf("no TrafficPermission has a destination that fits %s (%s)", to, tagList(inbound))}
	case r.Allowed:
		return Cause{Code: CausePermitted, Why: fmt.Sprintf("traffic-permission %s, sources[%d] (%s) lets it in",
			r.Permission.Name, r.Source, tagList(r.Permission.Sources[r.Source].Match))}
	}
	if i, want := r.Permission.nearest(peer); i >= 0 {
		return Cause{Code: CauseTagsMissing, Why: fmt.Sprintf("traffic-permission %s decides, and sources[%d] is for others: %s",
			r.Permission.Name, i, want)}
	}
	return Cause{Code: CauseNotAmongSources, Why: fmt.Sprintf("traffic-permission %s decides, and %s is none of its sources: %s",
		r.Permission.Name, peer.Service, sourceList(r.Permission))}
}

// explainMerged is [Ruling.Explain] where MeshTrafficPermissions decide.
func (r Ruling) explainMerged(peer Peer) Cause {
	if r.Source >= 0 {
		c := &r.Merged.clauses[r.Source]
		why := fmt.Sprintf("meshtrafficpermission %s, %s (%s): %s", c.of.Name, c.field, c.source, c.action)
		if r.Allowed {
			return Cause{Code: CausePermitted, Why: why}
		}
		return Cause{Code: CauseDenied, Why: why}
	}
	for i := range r.Merged.clauses {
		c := &r.Merged.clauses[i]
		if wrong := c.source.lacks(peer); c.action != Deny && c.source.names(peer.Service) {
			return Cause{Code: CauseTagsMissing, Why: fmt.Sprintf("meshtrafficpermission %s decides, and %s is for others: %s", c.of.Name, c.field, wrong)}
		}
	}
	return Cause{Code: CauseNotAmongSources, Why: fmt.Sprintf("meshtrafficpermission %s decides, and nothing there is for %s", r.Merged, peer.Service)}
}

// nearest is the source that would let the peer in but for its tags, -1 if there is none, and what is wrong with these:
// "web has version=1, wanted 2".
func (p *TrafficPermission) nearest(peer Peer) (at int, wanted string) {
	for i := range p.Sources {
		s := p.Sources[i].source()
		if s.Service != "" && s.Service != peer.Service {
			continue
		}
		return i, s.lacks(peer)
	}
	return -1, ""
}

// lacks is what is wrong with the tags of a peer, for which the source is not because of them: "web has version=1, wanted 2".
func (s Source) lacks(peer Peer) string {
	var wrong []string
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		have := peer.Tags[k]
		switch want := s.Tags[k]; {
		case len(have) == 0:
			wrong = append(wrong, fmt.Sprintf("%s has no %s, wanted %s", peer.Service, k, want))
		case want != Any && !slices.Contains(have, want):
			wrong = append(wrong, fmt.Sprintf("%s has %s=%s, wanted %s", peer.Service, k, strings.Join(have, ","), want))
		}
	}
	return strings.Join(wrong, "; ")
}

// tagList is tags in order: "kuma.io/service=web, version=1".
func tagList(tags map[string]string) string { return TagRule{tags}.String() }

// sourceList is a few of the sources of a permission.
func sourceList(p *TrafficPermission) string {
	var all []string
	for i := range p.Sources {
		all = append(all, p.Sources[i].source().String())
	}
	return names(all)
}

// String says why in a few words.
func (r Ruling) String() string {
	switch {
	case r.Out != nil:
		return r.Out.Error()
	case r.Open:
		return "mTLS is off"
	case r.Merged != nil && r.Source >= 0:
		return fmt.Sprintf("%s by %s", map[bool]string{true: "let in", false: "denied"}[r.Allowed], &r.Merged.clauses[r.Source])
	case r.Merged != nil:
		return fmt.Sprintf("MeshTrafficPermissions %s decide, and none of them lets it in", r.Merged)
	case r.Permission == nil:
		return "no TrafficPermission is for it"
	case r.Allowed:
		return fmt.Sprintf("let in by sources[%d] of TrafficPermission %q", r.Source, r.Permission.Name)
	}
	return fmt.Sprintf("TrafficPermission %q decides, and none of its sources fits", r.Permission.Name)
}
