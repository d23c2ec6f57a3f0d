package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Suggest is a small permission, ready to be applied, that lets the peers of a service in at an inbound: the one that decides
// about it now with one source more, or else a new one. Where MeshTrafficPermissions decide, it is one more of those. alone is
// whether it does nothing else, as far as the Dataplanes go that there are: nobody loses anything, nobody else gets in, and the
// service nowhere else.
func Suggest(m *Mesh, permissions Permissions, dataplanes []*Dataplane, service string, d *Dataplane, in *Inbound) (best Resource, alone bool) {
	if permissions.Merge(d, in) != nil {
		return suggestMerged(m, permissions, dataplanes, service, d, in)
	}
	now, inbound := permissions.Match(in.Tags), in.Tags
	taken := func(name string) bool {
		return slices.ContainsFunc(permissions.traffic, func(p *TrafficPermission) bool { return p.Name == name })
	}
	for _, destination := range candidates(now, inbound) {
		p := &TrafficPermission{
			Meta:         Meta{Type: TypeTrafficPermission, Mesh: m.Name, Name: freeName(taken, service+"-to-"+inbound[TagService])},
			Destinations: []Selector{destination},
		}
		if now != nil {
			p.Sources = slices.Clone(now.Sources)
			if len(now.Destinations) == 1 && maps.Equal(now.Destinations[0].Match, destination.Match) {
				p.Name, p.Labels = now.Name, now.Labels
			}
		}
		p.Sources = append(p.Sources, Source{Service: service}.Selector())
		after := permissions.with(p.newest(permissions.traffic))
		if onlyAdds(NewReach(m, permissions, dataplanes), NewReach(m, after, dataplanes), service, inbound) {
			return p, true
		}
		best = p
	}
	return best, false
}

// suggestMerged is [Suggest] where MeshTrafficPermissions decide.
func suggestMerged(m *Mesh, permissions Permissions, dataplanes []*Dataplane, service string, d *Dataplane, in *Inbound) (best Resource, alone bool) {
	tags := maps.Clone(in.Tags)
	delete(tags, TagService)
	targets := []TargetRef{{Kind: TargetMeshService, Name: in.Service()}}
	if len(tags) > 0 {
		targets = append(targets, TargetRef{Kind: TargetMeshServiceSubset, Name: in.Service(), Tags: tags})
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(permissions.mesh, func(p *MeshTrafficPermission) bool { return p.Name == name })
	}
	for _, target := range targets {
		p := &MeshTrafficPermission{
			Meta: Meta{Type: TypeMeshTrafficPermission, Mesh: m.Name, Name: freeName(taken, service+"-to-"+in.Service())},
			Spec: MeshTrafficPermissionSpec{
				TargetRef: &target,
				From:      []From{{TargetRef{Kind: TargetMeshService, Name: service}, FromDefault{Allow}}},
			},
		}
		best = p
		after := permissions.with(p)
		// A Deny that goes before it would leave it without effect.
		deaf := func(o *Dataplane) bool {
			return slices.Contains(o.Services(), service) && !Rule(m, after, o.Peer(service), d, in).Allowed
		}
		if slices.ContainsFunc(dataplanes, deaf) {
			continue
		}
		if onlyAdds(NewReach(m, permissions, dataplanes), NewReach(m, after, dataplanes), service, in.Tags) {
			return p, true
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

// newest is a copy that is as new as the store would make it: as old as the one whose place it takes, or else newer than all.
func (p *TrafficPermission) newest(all []*TrafficPermission) *TrafficPermission {
	newest := *p
	for _, o := range all {
		if o.Name == p.Name {
			newest.CreationTime = o.CreationTime
			break
		}
		if !o.CreationTime.Before(newest.CreationTime) {
			newest.CreationTime = o.CreationTime.Add(time.Second)
		}
	}
	return &newest
}

// onlyAdds reports whether all that is different after a change is that the service is let in at inbounds of that service.
func onlyAdds(before, after *Reach, service string, inbound map[string]string) bool {
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

// freeName is a name for a permission that is not taken, as close to the wish as names may be.
func freeName(taken func(string) bool, wish string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(wish))
	name = strings.Trim(name[:min(len(name), maxName-10)], "-")
	free := name
	for i := 2; taken(free); i++ {
		free = name + "-" + strconv.Itoa(i)
	}
	return free
}
