package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Suggest is a small permission, ready to be applied, that lets the peers of a service in at an inbound with these tags:
// the one that decides about it now with one source more, or else a new one. alone is whether it does nothing else, as far
// as the Dataplanes go that there are: nobody loses anything, nobody else gets in, and the service nowhere else.
func Suggest(m *Mesh, permissions []*TrafficPermission, dataplanes []*Dataplane, service string, inbound map[string]string) (best *TrafficPermission, alone bool) {
	now := Match(permissions, inbound)
	for _, destination := range candidates(now, inbound) {
		best = &TrafficPermission{
			Meta:         Meta{Type: TypeTrafficPermission, Mesh: m.Name, Name: freeName(permissions, service+"-to-"+inbound[TagService])},
			Destinations: []Selector{destination},
		}
		if now != nil {
			best.Sources = slices.Clone(now.Sources)
			if len(now.Destinations) == 1 && maps.Equal(now.Destinations[0].Match, destination.Match) {
				best.Name, best.Labels = now.Name, now.Labels
			}
		}
		best.Sources = append(best.Sources, Source{Service: service}.Selector())
		if onlyAdds(m, permissions, best, dataplanes, service, inbound) {
			return best, true
		}
	}
	return best, false
}

// candidates are destinations for a permission that is to decide about an inbound where now does so far, the simplest
// first. All are at least as specific as that one's.
func candidates(now *TrafficPermission, inbound map[string]string) []Selector {
	all := []Selector{{maps.Clone(inbound)}}
	if now == nil {
		return append([]Selector{Source{Service: inbound[TagService]}.Selector()}, all...)
	}
	closest := now.closest(inbound).Match
	exact := map[string]string{TagService: inbound[TagService]}
	for k := range closest {
		exact[k] = inbound[k]
	}
	return append([]Selector{{maps.Clone(closest)}, {exact}}, all...)
}

// closest is the destination that fits the tags most specifically. One does.
func (p *TrafficPermission) closest(tags map[string]string) Selector {
	best, _ := p.rank(tags)
	i := slices.IndexFunc(p.Destinations, func(d Selector) bool {
		r, ok := d.rank(tags)
		return ok && r == best
	})
	return p.Destinations[i]
}

// onlyAdds reports whether with one permission more, or changed, the service is let in at the inbound, nobody loses
// anything, and nobody else gains anything, nor the service anything at others.
func onlyAdds(m *Mesh, permissions []*TrafficPermission, p *TrafficPermission, dataplanes []*Dataplane, service string, inbound map[string]string) bool {
	newest := *p
	for _, o := range permissions {
		if o.Name == p.Name {
			newest.CreationTime = o.CreationTime // as the store would have it
			break
		}
		if !o.CreationTime.Before(newest.CreationTime) {
			newest.CreationTime = o.CreationTime.Add(time.Second)
		}
	}
	others := slices.DeleteFunc(slices.Clone(permissions), func(o *TrafficPermission) bool { return o.Name == p.Name })
	before, after := NewReach(m, permissions, dataplanes), NewReach(m, append(others, &newest), dataplanes)
	for _, to := range before.Destinations() {
		if slices.EqualFunc(before.inbounds[to], after.inbounds[to], (*reachInbound).sameDecides) {
			continue
		}
		for _, from := range before.Sources() {
			was, is := before.Cases(from, to), after.Cases(from, to)
			for i := range was {
				if was[i].Allowed && !is[i].Allowed || !was[i].Allowed && is[i].Allowed && (from != service || to != inbound[TagService]) {
					return false
				}
			}
		}
	}
	return true
}

// freeName is a name for a permission that none has, as close to the wish as names may be.
func freeName(permissions []*TrafficPermission, wish string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(wish))
	name = strings.Trim(name[:min(len(name), maxName-10)], "-")
	taken := func(name string) bool {
		return slices.ContainsFunc(permissions, func(p *TrafficPermission) bool { return p.Name == name })
	}
	free := name
	for i := 2; taken(free); i++ {
		free = name + "-" + strconv.Itoa(i)
	}
	return free
}
