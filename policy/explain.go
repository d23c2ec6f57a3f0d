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

// nearest is the source that would let the peer in but for its tags, -1 if there is none, and what is wrong with these:
// "web has version=1, wanted 2".
func (p *TrafficPermission) nearest(peer Peer) (at int, wanted string) {
	for i := range p.Sources {
		s := p.Sources[i].source()
		if s.Service != "" && s.Service != peer.Service {
			continue
		}
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
		return i, strings.Join(wrong, "; ")
	}
	return -1, ""
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
