package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Peer is who a proxy is towards others in the name of one of its services. It is what its certificate says.
type Peer struct {
	Service string
	Tags    map[string][]string // all other tags, with all their values, sorted
}

// MaxPeerTags bounds the tags of a peer besides its service, each value counted: its certificate names them all.
const MaxPeerTags = 64

// Peer is who the proxy is as that service: it has the tags of all inbounds with it, or of the gateway.
func (d *Dataplane) Peer(service string) Peer {
	p := Peer{service, map[string][]string{}}
	for _, tags := range d.TagSets() {
		if tags[TagService] != service {
			continue
		}
		for k, v := range tags {
			if k != TagService && !slices.Contains(p.Tags[k], v) {
				p.Tags[k] = append(p.Tags[k], v)
			}
		}
	}
	for _, values := range p.Tags {
		slices.Sort(values)
	}
	return p
}

// checkPeers finds services with more tags than a certificate names.
func (p *problems) checkPeers(d *Dataplane) {
	for _, service := range d.Services() {
		n := 0
		for _, values := range d.Peer(service).Tags {
			n += len(values)
		}
		if n > MaxPeerTags {
			p.add("networking", "service %s has %d different tags besides %s; its certificate names them all, and takes %d",
				quote(service), n, TagService, MaxPeerTags)
		}
	}
}

// Source is whom a permission lets in: the peers of a service, or for "" of all whose names begin with Prefix, that have all
// of these other tags. The value [Any] stands for every value.
type Source struct {
	Service string            `json:"service,omitempty"`
	Prefix  string            `json:"prefix,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	// Except are those of the source who are not let in, as [Source.without] has them; they have no exceptions themselves.
	Except []Source `json:"except,omitempty"`
}

// source is the selector as a source.
func (s *Selector) source() Source {
	src := Source{Tags: map[string]string{}}
	for k, v := range s.Match {
		switch {
		case k != TagService:
			src.Tags[k] = v
		case v != Any:
			src.Service = v
		}
	}
	return src
}

// Admits reports whether the peer is among those that are let in.
func (s Source) Admits(p Peer) bool {
	if !s.names(p.Service) {
		return false
	}
	for k, want := range s.Tags {
		if have := p.Tags[k]; len(have) == 0 || want != Any && !slices.Contains(have, want) {
			return false
		}
	}
	return !slices.ContainsFunc(s.Except, func(e Source) bool { return e.Admits(p) })
}

// names reports whether the service is among those of the source.
func (s Source) names(service string) bool {
	return s.Service == service || s.Service == "" && strings.HasPrefix(service, s.Prefix)
}

// includes reports whether whoever is among o is among s.
func (s Source) includes(o Source) bool {
	for _, e := range s.Except {
		if !e.disjoint(o) && !slices.ContainsFunc(o.Except, func(x Source) bool { return x.includes(e) }) {
			return false
		}
	}
	if s.Service != "" && s.Service != o.Service || s.Service == "" && !strings.HasPrefix(cmp.Or(o.Service, o.Prefix), s.Prefix) {
		return false
	}
	for k, want := range s.Tags {
		if have, ok := o.Tags[k]; !ok || want != Any && want != have {
			return false
		}
	}
	return true
}

// Equal reports whether two sources are the same.
func (s Source) Equal(o Source) bool {
	return s.Service == o.Service && s.Prefix == o.Prefix && maps.Equal(s.Tags, o.Tags) && slices.EqualFunc(s.Except, o.Except, Source.Equal)
}

// String is the service, or "*" for any, and the other tags in order: "web version=2". Different sources have different
// ones.
func (s Source) String() string {
	text := cmp.Or(s.Service, s.Prefix+Any)
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		text += " " + k + "=" + s.Tags[k]
	}
	for _, e := range s.Except {
		text += " but not (" + e.String() + ")"
	}
	return text
}

// Selector is the source as a permission writes it.
func (s Source) Selector() Selector {
	match := maps.Clone(s.Tags)
	if match == nil {
		match = map[string]string{}
	}
	if s.Service != "" || len(match) == 0 {
		match[TagService] = cmp.Or(s.Service, Any)
	}
	return Selector{match}
}

// Admitted is whom the permission lets in, in a fixed order, and without those that are among others anyway: two
// permissions that only say the same in other words have the same.
func (p *TrafficPermission) Admitted() []Source {
	all := make([]Source, len(p.Sources))
	for i := range p.Sources {
		all[i] = p.Sources[i].source()
	}
	return reduce(all)
}

// Narrow is whom of a service the sources let in, as sources of that service.
func Narrow(sources []Source, service string) []Source {
	var of []Source
	for _, s := range sources {
		if !s.names(service) {
			continue
		}
		if narrow, ok := (Source{Service: service, Tags: s.Tags}).without(s.Except); ok {
			of = append(of, narrow)
		}
	}
	return reduce(of)
}

// reduce sorts the sources and drops those that another one includes.
func reduce(all []Source) []Source {
	byService := map[string][]Source{}
	for _, s := range all {
		byService[s.Service] = append(byService[s.Service], s)
	}
	var kept []Source
	for i, s := range all {
		spare := func(o Source) bool { return o.includes(s) && !s.includes(o) }
		twin := func(o Source) bool { return o.Service == s.Service && o.Equal(s) }
		if slices.ContainsFunc(byService[s.Service], spare) || s.Service != "" && slices.ContainsFunc(byService[""], spare) ||
			slices.ContainsFunc(all[:i], twin) {
			continue
		}
		kept = append(kept, s)
	}
	slices.SortFunc(kept, func(a, b Source) int { return strings.Compare(a.String(), b.String()) })
	return kept
}

// Source is the index of the first source that lets the peer in, -1 if none does.
func (p *TrafficPermission) Source(peer Peer) int {
	return slices.IndexFunc(p.Sources, func(s Selector) bool { return len(s.Match) > 0 && s.source().Admits(peer) })
}
