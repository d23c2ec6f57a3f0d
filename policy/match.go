package policy

import "cmp"

// Match is the permission that decides about an inbound with these tags: the one whose destinations match most
// specifically. More tags are more specific, then more values that are not [Any]; among equals the newest decides,
// then the first by name. Nil if none matches, and nobody gets in.
func Match(permissions []*TrafficPermission, tags map[string]string) *TrafficPermission {
	var best *TrafficPermission
	var bestRank rank
	for _, p := range permissions {
		r, ok := p.rank(tags)
		if !ok {
			continue
		}
		if best == nil || cmp.Or(r.compare(bestRank), p.newer(best)) > 0 {
			best, bestRank = p, r
		}
	}
	return best
}

// rank is how specific a selector is.
type rank struct {
	tags, exact int
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.tags, o.tags), cmp.Compare(r.exact, o.exact))
}

// newer is positive if p goes before an equally specific o.
func (p *TrafficPermission) newer(o *TrafficPermission) int {
	return cmp.Or(p.CreationTime.Compare(o.CreationTime), cmp.Compare(o.Name, p.Name))
}

// rank is that of the most specific destination that matches the tags.
func (p *TrafficPermission) rank(tags map[string]string) (best rank, ok bool) {
	for _, d := range p.Destinations {
		r, matches := d.rank(tags)
		if matches && (!ok || r.compare(best) > 0) {
			best, ok = r, true
		}
	}
	return best, ok
}

// rank is how specific the selector is, if it matches the tags. One without tags matches nothing.
func (s *Selector) rank(tags map[string]string) (r rank, ok bool) {
	for k, want := range s.Match {
		have, ok := tags[k]
		if !ok || want != Any && want != have {
			return rank{}, false
		}
		r.tags++
		if want != Any {
			r.exact++
		}
	}
	return r, r.tags > 0
}
