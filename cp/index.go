package cp

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"koguma/policy"
	"koguma/store"
	"koguma/xds"
)

// index is the whole store as the reconciler sees it, arranged so that the [xds.View] of a proxy is a few lookups. It
// belongs to the reconciler's goroutine.
type index struct {
	meshes map[string]*meshIndex
	// live is whether the whole store was taken in: what is new from then on is new to everybody.
	live bool
	// version is that of the newest resource that was taken in.
	version uint64
}

// meshIndex is one mesh. What is derived is dropped when what it was derived from changes, and made again when it is
// asked for.
type meshIndex struct {
	mesh        *policy.Mesh // nil until there is one of that name
	dataplanes  map[string]*policy.Dataplane
	permissions map[string]*policy.TrafficPermission
	secrets     map[string]*policy.Secret

	services  map[string]*service       // by name
	endpoints map[string]*xds.Endpoints // by cluster
	changed   map[string]bool           // the clusters whose endpoints may have changed since
	away      map[string]bool           // the Dataplanes, by name, whose proxies have left or are not there yet
	permitted map[string]verdict        // by the tags of an inbound

	trust   *policy.Trust      // nil until it is settled whom to trust
	opened  map[string]*opened // by the name of the backend
	kept    map[string]*opened // those that are trusted, by fingerprint, as they were opened last
	stands  *trust             // that follows from these
	doubted bool               // stands may have changed since

	withdrawals *policy.Withdrawals // nil until something was withdrawn
	withdrawn   *xds.Withdrawn      // that follows from them
	noCRL       error               // why withdrawn has no list
}

// service is who stands for a service, and who dials it, by the names of their Dataplanes.
type service struct {
	instances map[string]*policy.Dataplane
	dialers   map[string]*policy.Dataplane
	protocol  policy.Protocol // that the instances speak; "" where nobody has asked yet
	unsure    bool            // the instances have changed since
}

// verdict is whom a permission lets in.
type verdict struct {
	name    string // of the permission, "" if there is none
	version uint64
	sources []string
	any     bool
}

func newIndex() *index { return &index{meshes: map[string]*meshIndex{}} }

func (x *index) at(mesh string) *meshIndex {
	m := x.meshes[mesh]
	if m == nil {
		m = &meshIndex{
			dataplanes:  map[string]*policy.Dataplane{},
			permissions: map[string]*policy.TrafficPermission{},
			secrets:     map[string]*policy.Secret{},
			services:    map[string]*service{},
			endpoints:   map[string]*xds.Endpoints{},
			changed:     map[string]bool{},
			away:        map[string]bool{},
			permitted:   map[string]verdict{},
			opened:      map[string]*opened{},
			kept:        map[string]*opened{},
		}
		x.meshes[mesh] = m
	}
	return m
}

// apply takes one change in, and reports whether it may wait: an instance more is no hurry, everything else is.
func (x *index) apply(e store.Event) (mayWait bool) {
	if e.Resource != nil {
		x.version = max(x.version, e.Resource.Metadata().Version)
	}
	switch e.Key.Type {
	case policy.TypeMesh:
		m := x.at(e.Key.Name)
		m.mesh, _ = e.Resource.(*policy.Mesh)
		m.doubted = true
	case policy.TypeSecret:
		m := x.at(e.Key.Mesh)
		set(m.secrets, e)
		m.doubted = true
	case policy.TypeTrust:
		x.at(e.Key.Mesh).follow(e)
	case policy.TypeWithdrawals:
		m := x.at(e.Key.Mesh)
		m.withdrawals, _ = e.Resource.(*policy.Withdrawals)
		m.withdrawn, m.noCRL = nil, nil
	case policy.TypeTrafficPermission:
		m := x.at(e.Key.Mesh)
		set(m.permissions, e)
		clear(m.permitted)
	case policy.TypeDataplane:
		m := x.at(e.Key.Mesh)
		old := m.dataplanes[e.Key.Name]
		set(m.dataplanes, e)
		switch d := m.dataplanes[e.Key.Name]; {
		case d == nil:
			delete(m.away, e.Key.Name)
		case old == nil && x.live && d.Labels[labelLifetime] == lifetimeSession:
			m.away[e.Key.Name] = true // until its Envoy listens
		}
		m.place(old, m.dataplanes[e.Key.Name])
		return old == nil
	}
	return false
}

// set keeps a map up to date with an event about one of its values.
func set[R policy.Resource](to map[string]R, e store.Event) {
	if r, ok := e.Resource.(R); ok {
		to[e.Key.Name] = r
	} else {
		delete(to, e.Key.Name)
	}
}

// place moves a Dataplane among the services. Either side may be nil.
func (m *meshIndex) place(old, d *policy.Dataplane) {
	for _, p := range []*policy.Dataplane{old, d} {
		if p == nil {
			continue
		}
		for _, name := range p.Services() {
			change(m.service(name).instances, p, d)
			m.stale(name)
		}
		for i := range p.Networking.Outbound {
			change(m.service(p.Networking.Outbound[i].Service()).dialers, p, d)
		}
	}
	clear(m.permitted) // whom "any" names depends on who dials
}

// change puts the Dataplane that is now in the place of p.
func change(in map[string]*policy.Dataplane, p, now *policy.Dataplane) {
	delete(in, p.Name)
	if p == now {
		in[p.Name] = p
	}
}

func (m *meshIndex) service(name string) *service {
	s := m.services[name]
	if s == nil {
		s = &service{instances: map[string]*policy.Dataplane{}, dialers: map[string]*policy.Dataplane{}}
		m.services[name] = s
	}
	return s
}

// stale has what is known of a service's instances gathered again, under each of the clusters that it has.
func (m *meshIndex) stale(service string) {
	m.service(service).unsure = true
	for cluster := range m.endpoints {
		if cluster == service || strings.HasPrefix(cluster, service+"-") {
			m.changed[cluster] = true
		}
	}
}

// leave takes the instances of a proxy away from others, although its Dataplane stays; enter brings them back.
func (m *meshIndex) leave(d *policy.Dataplane) {
	m.away[d.Name] = true
	m.place(d, d)
}

func (m *meshIndex) enter(d *policy.Dataplane) {
	if m.away[d.Name] {
		delete(m.away, d.Name)
		m.place(d, d)
	}
}

// view is what a proxy's configuration depends on now.
func (m *meshIndex) view(d *policy.Dataplane) (*xds.View, *trust, error) {
	auth, err := m.standing()
	if err != nil {
		return nil, nil, err
	}
	services := d.Services()
	v := &xds.View{Mesh: d.Mesh, Service: services[0], MTLS: auth != nil}
	if auth != nil {
		v.Roots, v.Withdrawn = auth.pem, m.withdrawnBy()
	}
	for i := range d.Networking.Inbound {
		in := &d.Networking.Inbound[i]
		if in.State == policy.StateIgnored {
			continue
		}
		permit, note := verdict{}, xds.Note{Mode: xds.ModeOff}
		if auth != nil {
			permit = m.permit(in.Tags)
			note = xds.Note{Mode: policy.ModeStrict, Permission: permit.name, PermissionVersion: permit.version}
		}
		v.Inbounds = append(v.Inbounds, xds.Inbound{
			Listen: d.Listen(in), Workload: d.Workload(in), Service: in.Service(), Protocol: in.Protocol(),
			Sources: permit.sources, Any: permit.any, Note: note,
		})
	}
	for i := range d.Networking.Outbound {
		out := &d.Networking.Outbound[i]
		v.Outbounds = append(v.Outbounds, xds.Outbound{
			Listen: out.Listen(), Service: out.Service(), Protocol: m.protocol(out.Service()),
			Endpoints: m.endpointsOf(out.Tags),
		})
	}
	return v, auth, nil
}

// permit is whom the permissions let in at an inbound with these tags.
func (m *meshIndex) permit(tags map[string]string) verdict {
	key := fmt.Sprint(tags) // maps print in the order of their keys
	v, ok := m.permitted[key]
	if ok {
		return v
	}
	all := slices.Collect(maps.Values(m.permissions))
	if p := policy.Match(all, tags); p != nil {
		v.name, v.version = p.Name, p.Version
		v.sources, v.any = p.SourceServices()
		if v.any {
			v.sources = m.dialing(tags[policy.TagService], v.sources)
		}
	}
	m.permitted[key] = v
	return v
}

// dialing is the services that have an outbound to this one, and these others, sorted.
func (m *meshIndex) dialing(to string, others []string) []string {
	found := map[string]bool{}
	for _, s := range others {
		found[s] = true
	}
	for _, d := range m.service(to).dialers {
		found[d.Services()[0]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// protocol is what all instances of a service speak, TCP where they differ. When the last one has gone, it is what that
// one spoke, and TCP where none was ever seen.
func (m *meshIndex) protocol(name string) policy.Protocol {
	s := m.service(name)
	if s.protocol != "" && !s.unsure {
		return s.protocol
	}
	s.unsure = false
	spoken := map[policy.Protocol]bool{}
	for _, d := range s.instances {
		for i := range d.Networking.Inbound {
			if in := &d.Networking.Inbound[i]; in.Service() == name {
				spoken[in.Protocol()] = true
			}
		}
	}
	switch len(spoken) {
	case 0:
		s.protocol = cmp.Or(s.protocol, policy.ProtocolTCP)
	case 1:
		for p := range spoken {
			s.protocol = p
		}
	default:
		s.protocol = policy.ProtocolTCP
	}
	return s.protocol
}

// endpointsOf is where the ready instances with these tags are reached.
func (m *meshIndex) endpointsOf(tags map[string]string) *xds.Endpoints {
	cluster := xds.ClusterName(tags)
	last := m.endpoints[cluster]
	if last != nil && !m.changed[cluster] {
		return last
	}
	delete(m.changed, cluster)
	e := &xds.Endpoints{Cluster: cluster}
	for name, d := range m.service(tags[policy.TagService]).instances {
		if m.away[name] {
			continue
		}
		for i := range d.Networking.Inbound {
			if in := &d.Networking.Inbound[i]; in.Ready() && subset(tags, in.Tags) {
				e.Addresses = append(e.Addresses, d.Reach(in))
			}
		}
	}
	slices.SortFunc(e.Addresses, netip.AddrPort.Compare)
	e.Addresses = slices.Compact(e.Addresses)
	if last != nil && slices.Equal(last.Addresses, e.Addresses) {
		return last // the same value, so that nobody takes it for a change
	}
	m.endpoints[cluster] = e
	return e
}

// subset reports whether all of these tags are among those.
func subset(these, those map[string]string) bool {
	for k, v := range these {
		if have, ok := those[k]; !ok || have != v {
			return false
		}
	}
	return true
}
