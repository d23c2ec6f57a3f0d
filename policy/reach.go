package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reach is who reaches whom in a mesh, by services: what follows from whether mTLS is on, from the permissions and from
// the tags of all Dataplanes. It is for one goroutine, and answers quickly for a thousand services.
type Reach struct {
	open     bool // mTLS is off
	peers    map[string][]*reachPeer
	inbounds map[string][]*reachInbound
	count    int // of peers
}

// reachPeer is what some Dataplanes have in common as a service: all that permissions look at.
type reachPeer struct {
	Peer
	id    int
	out   error    // why they may not be in the mesh, nil if they may
	names []string // of the Dataplanes
}

// reachInbound is what some inbounds of a service have in common.
type reachInbound struct {
	tags    map[string]string
	decides *decider // nil if no permission does
	out     error    // why they may not be in the mesh, nil if they may
	names   []string // of the Dataplanes
}

// sameDecides reports whether the same permissions decide about two kinds of inbounds.
func (i *reachInbound) sameDecides(o *reachInbound) bool {
	a, b := i.decides, o.decides
	switch {
	case a == nil || b == nil:
		return a == b
	case a.merged == nil || b.merged == nil:
		return a.permission == b.permission
	}
	return slices.Equal(a.merged.Permissions, b.merged.Permissions)
}

// decider is what decides about an inbound, with what was found out about it.
type decider struct {
	permission *TrafficPermission // nil where merged decides
	merged     *Merged
	sources    []Source
	byService  map[string][]int // indices of sources
	found      []int            // by the id of a peer: the index of the source, plus one; 0 is not asked yet
}

// Verdict is whether a service reaches another.
type Verdict string

// The verdicts. Partly is that some of the instances do, or reach some.
const (
	Denied  Verdict = "denied"
	Partly  Verdict = "partly"
	Allowed Verdict = "allowed"
)

// Case is how one kind of peers of a service and one kind of inbounds of another stand to each other.
type Case struct {
	Peer    Peer
	From    []string          // the Dataplanes that are such peers
	Inbound map[string]string // the tags
	To      []string          // the Dataplanes with such inbounds
	Ruling
}

// Ruling is whether a peer gets in at an inbound, and why.
type Ruling struct {
	Allowed bool
	// Open is whether everybody gets in because mTLS is off.
	Open bool
	// Out is why nobody gets in because one of both may not be in the mesh, nil if they may.
	Out error
	// Permission is the TrafficPermission that decides, nil if there is none or Merged decides.
	Permission *TrafficPermission
	// Merged are the MeshTrafficPermissions that decide, nil if there are none.
	Merged *Merged
	// Source is the index of the source of Permission, or of the clause of Merged, that fits the peer; -1 if none does.
	Source int
}

// Rule says whether a peer gets in at an inbound.
func Rule(m *Mesh, permissions Permissions, peer Peer, d *Dataplane, in *Inbound) Ruling {
	if m.Enabled() == nil {
		return Ruling{Allowed: true, Open: true, Source: -1}
	}
	if merged := permissions.Merge(d, in); merged != nil {
		return merged.ruling(merged.source(peer))
	}
	p := permissions.Match(in.Tags)
	if p == nil {
		return Ruling{Source: -1}
	}
	return p.ruling(p.Source(peer))
}

// ruling is that about a peer whom the source at that index fits, or none for -1.
func (p *TrafficPermission) ruling(source int) Ruling {
	return Ruling{Allowed: source >= 0, Permission: p, Source: source}
}

// ruling is that about a peer whom the clause at that index fits, or none for -1.
func (m *Merged) ruling(clause int) Ruling {
	return Ruling{Allowed: clause >= 0 && m.clauses[clause].action != Deny, Merged: m, Source: clause}
}

// ByTags reports whether it depends on more than the peer's service.
func (r Ruling) ByTags() bool {
	if r.Merged != nil {
		return r.Merged.byTags()
	}
	if r.Permission == nil || r.Source < 0 {
		return false
	}
	return len(r.Permission.Sources[r.Source].source().Tags) > 0
}

// NewReach is the reach in a mesh with these permissions and Dataplanes.
func NewReach(m *Mesh, permissions Permissions, dataplanes []*Dataplane) *Reach {
	r := &Reach{open: m.Enabled() == nil, peers: map[string][]*reachPeer{}, inbounds: map[string][]*reachInbound{}}
	peers, inbounds := map[string]*reachPeer{}, map[string]*reachInbound{}
	deciders := map[any]*decider{}
	for _, d := range dataplanes {
		out := m.Admit(d)
		for _, service := range d.Services() {
			p := d.Peer(service)
			key := fmt.Sprint(service, p.Tags, out) // maps print in the order of their keys
			if peers[key] == nil {
				peers[key] = &reachPeer{Peer: p, id: r.count, out: out}
				r.peers[service] = append(r.peers[service], peers[key])
				r.count++
			}
			peers[key].names = append(peers[key].names, d.Name)
		}
		for i := range d.Networking.Inbound {
			in := &d.Networking.Inbound[i]
			key, merged := fmt.Sprint(in.Tags, out), permissions.Merge(d, in)
			if merged != nil {
				key = fmt.Sprintf("%s %p", key, merged)
			}
			if inbounds[key] == nil {
				inbounds[key] = &reachInbound{tags: in.Tags, decides: deciderOf(deciders, merged, permissions, in), out: out}
				r.inbounds[in.Service()] = append(r.inbounds[in.Service()], inbounds[key])
			}
			if of := inbounds[key]; !slices.Contains(of.names, d.Name) {
				of.names = append(of.names, d.Name)
			}
		}
	}
	return r
}

// deciderOf is what decides about an inbound, of those that there are already if it is among them; nil for nothing.
func deciderOf(known map[any]*decider, merged *Merged, permissions Permissions, in *Inbound) *decider {
	var d decider
	var key any
	if merged != nil {
		d.merged, key = merged, merged
	} else if d.permission = permissions.Match(in.Tags); d.permission != nil {
		key = d.permission
	} else {
		return nil
	}
	if known[key] == nil {
		d.arrange()
		known[key] = &d
	}
	return known[key]
}

func (d *decider) arrange() {
	if d.merged != nil {
		for i := range d.merged.clauses {
			d.sources = append(d.sources, d.merged.clauses[i].source)
		}
	} else {
		for i := range d.permission.Sources {
			d.sources = append(d.sources, d.permission.Sources[i].source())
		}
	}
	d.byService = map[string][]int{}
	for i, s := range d.sources {
		d.byService[s.Service] = append(d.byService[s.Service], i)
	}
}

// ruling is that about a peer, of so many.
func (d *decider) ruling(p *reachPeer, peers int) Ruling {
	if d.merged != nil {
		return d.merged.ruling(d.source(p, peers))
	}
	return d.permission.ruling(d.source(p, peers))
}

// source is the index of the first source that fits the peer, -1 if none does.
func (d *decider) source(p *reachPeer, peers int) int {
	if d.found == nil {
		d.found = make([]int, peers)
	}
	if at := d.found[p.id]; at != 0 {
		return at - 2
	}
	best := -1
	for _, service := range []string{p.Service, ""} {
		for _, i := range d.byService[service] {
			if (best < 0 || i < best) && d.sources[i].Admits(p.Peer) {
				best = i
			}
		}
	}
	d.found[p.id] = best + 2
	return best
}

// Sources are the services that somebody is, sorted.
func (r *Reach) Sources() []string { return slices.Sorted(maps.Keys(r.peers)) }

// Destinations are the services that somebody has an inbound of, sorted.
func (r *Reach) Destinations() []string { return slices.Sorted(maps.Keys(r.inbounds)) }

func (r *Reach) rule(p *reachPeer, in *reachInbound) Ruling {
	switch {
	case in.out != nil:
		return Ruling{Out: in.out, Source: -1}
	case r.open:
		return Ruling{Allowed: true, Open: true, Source: -1}
	case p.out != nil:
		return Ruling{Out: p.out, Source: -1}
	case in.decides == nil:
		return Ruling{Source: -1}
	}
	return in.decides.ruling(p, r.count)
}

// Verdict is whether the one service reaches the other. Where nobody is the one, or has an inbound of the other, it is
// Denied.
func (r *Reach) Verdict(from, to string) Verdict {
	in, out := false, false
	for _, p := range r.peers[from] {
		for _, i := range r.inbounds[to] {
			if r.rule(p, i).Allowed {
				in = true
			} else {
				out = true
			}
		}
	}
	switch {
	case in && out:
		return Partly
	case in:
		return Allowed
	}
	return Denied
}

// Cases are all cases of the one service and the other, none where one of them is not there.
func (r *Reach) Cases(from, to string) []Case {
	var cases []Case
	for _, p := range r.peers[from] {
		for _, i := range r.inbounds[to] {
			cases = append(cases, Case{Peer: p.Peer, From: p.names, Inbound: i.tags, To: i.names, Ruling: r.rule(p, i)})
		}
	}
	return cases
}

// Change is how the verdict about two services differs between two moments.
type Change struct {
	Source      string  `json:"source"`
	Destination string  `json:"destination"`
	Before      Verdict `json:"before"`
	After       Verdict `json:"after"`
	Why         string  `json:"why"` // it will be so after
}

// Changes are the pairs of services about which two reaches differ, sorted. A pair of whom one is not there counts as
// denied.
func Changes(before, after *Reach) []Change {
	var all []Change
	destinations := union(before.Destinations(), after.Destinations())
	for _, from := range union(before.Sources(), after.Sources()) {
		for _, to := range destinations {
			if was, is := before.Verdict(from, to), after.Verdict(from, to); was != is {
				all = append(all, Change{from, to, was, is, after.Why(from, to)})
			}
		}
	}
	return all
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// mostReasons bounds what [Reach.Why] says of a pair.
const mostReasons = 4

// Why says in one line why the verdict about two services is as it is.
func (r *Reach) Why(from, to string) string {
	cases := r.Cases(from, to)
	if len(cases) == 0 {
		return "there is no Dataplane for one of them"
	}
	var reasons []string
	for i := range cases {
		c := &cases[i]
		reason := c.String()
		if len(cases) > 1 {
			reason = fmt.Sprintf("%s to %s: %s", names(c.From), names(c.To), reason)
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	if same := cases[0].String(); !slices.ContainsFunc(cases, func(c Case) bool { return c.String() != same }) {
		return same
	}
	if more := len(reasons) - mostReasons; more > 0 {
		reasons = append(reasons[:mostReasons], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(reasons, "; ")
}

// names are a few names, and how many more there are.
func names(all []string) string {
	const most = 3
	s := strings.Join(all[:min(len(all), most)], ", ")
	if more := len(all) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
