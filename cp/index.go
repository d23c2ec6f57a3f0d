package cp

import (
	"cmp"
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
	// connected reports whether a proxy has a session, at any control plane; nil if none has.
	connected func(policy.Key) bool
}

// meshIndex is one mesh. What is derived is dropped when what it was derived from changes, and made again when it is
// asked for.
type meshIndex struct {
	mesh        *policy.Mesh // nil until there is one of that name
	next        *policy.Mesh // what it will be when nobody speaks mTLS any more; nil if it is that already
	dataplanes  map[string]*policy.Dataplane
	permissions map[string]*policy.TrafficPermission
	meshTraffic map[string]*policy.MeshTrafficPermission
	secrets     map[string]*policy.Secret

	services  map[string]*service       // by name
	endpoints map[string]*xds.Endpoints // by cluster
	changed   map[string]bool           // the clusters whose endpoints may have changed since
	away      map[string]bool           // the Dataplanes, by name, whose proxies have left or are not there yet
	left      map[string]bool           // ... whose proxies have left
	deaf      map[string]bool           // ... whose proxies may not take mTLS yet
	speaking  map[string]bool           // ... whose proxies dial under mTLS and are to stop; nil if none are to
	settling  bool                      // all of them have, here and at other control planes
	permitted map[string]verdict        // by what decides about an inbound
	arranged  *policy.Permissions       // all permissions; nil where they have changed since

	former map[string]*policy.Dataplane // by name, what proxies still are that have not taken yet what their Dataplane is now
	barred map[string]bool              // the Dataplanes, by name, that may not be in the mesh
	names  map[string]string            // by name, what the certificates of proxies name besides their service

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

func newIndex() *index { return &index{meshes: map[string]*meshIndex{}} }

func (x *index) at(mesh string) *meshIndex {
	m := x.meshes[mesh]
	if m == nil {
		m = &meshIndex{
			dataplanes:  map[string]*policy.Dataplane{},
			permissions: map[string]*policy.TrafficPermission{},
			meshTraffic: map[string]*policy.MeshTrafficPermission{},
			secrets:     map[string]*policy.Secret{},
			services:    map[string]*service{},
			endpoints:   map[string]*xds.Endpoints{},
			changed:     map[string]bool{},
			away:        map[string]bool{},
			left:        map[string]bool{},
			permitted:   map[string]verdict{},
			opened:      map[string]*opened{},
			kept:        map[string]*opened{},
			former:      map[string]*policy.Dataplane{},
			barred:      map[string]bool{},
			names:       map[string]string{},
		}
		x.meshes[mesh] = m
	}
	return m
}

// apply takes one change in, and reports whether it may wait: an instance more is no hurry, everything else is.
func (x *index) apply(e store.Event) (mayWait bool) {
	switch e.Key.Type {
	case policy.TypeMesh:
		m := x.at(e.Key.Name)
		mesh, _ := e.Resource.(*policy.Mesh)
		m.setMesh(mesh, x.live)
		m.doubted = true
		for _, d := range m.dataplanes {
			m.judge(d)
		}
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
		m.rearrange()
	case policy.TypeMeshTrafficPermission:
		m := x.at(e.Key.Mesh)
		set(m.meshTraffic, e)
		m.rearrange()
	case policy.TypeDataplane:
		m := x.at(e.Key.Mesh)
		old := m.dataplanes[e.Key.Name]
		set(m.dataplanes, e)
		delete(m.names, e.Key.Name)
		switch d := m.dataplanes[e.Key.Name]; {
		case d == nil:
			delete(m.away, e.Key.Name)
			delete(m.left, e.Key.Name)
			delete(m.former, e.Key.Name)
			delete(m.barred, e.Key.Name)
			delete(m.deaf, e.Key.Name)
		case old != nil && m.former[d.Name] == nil && x.live && (d.Labels[labelLifetime] == lifetimeSession || x.connected != nil && x.connected(e.Key)):
			m.former[d.Name] = old // until its proxy has taken what is new
		case old == nil && x.live && d.Labels[labelLifetime] == lifetimeSession:
			m.away[e.Key.Name] = true // until its Envoy listens
		}
		m.place(old, m.dataplanes[e.Key.Name])
		if d := m.dataplanes[e.Key.Name]; d != nil {
			m.judge(d)
		}
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

// view is what a proxy's configuration depends on now.
func (m *meshIndex) view(d *policy.Dataplane) (*xds.View, *trust, error) {
	auth, err := m.standing()
	if err != nil {
		return nil, nil, err
	}
	services := d.Services()
	v := &xds.View{Mesh: d.Mesh, Service: services[0], MTLS: auth != nil, Mode: m.mode()}
	v.MeshCreated, v.MeshChanged = m.mesh.CreationTime.UnixNano(), m.mesh.ModificationTime.UnixNano()
	if auth != nil {
		v.Roots, v.Withdrawn = auth.pem, m.withdrawnBy()
		v.Names = m.namesOf(d)
	}
	for i := range d.Networking.Inbound {
		in := &d.Networking.Inbound[i]
		if in.State == policy.StateIgnored {
			continue
		}
		permit, note := verdict{}, xds.Note{Mode: v.Mode}
		if auth != nil {
			if permit = m.permit(d, in); permit.err != nil {
				return nil, nil, permit.err
			}
			note = xds.Note{Mode: v.Mode, Permission: permit.name, PermissionVersion: permit.version}
		}
		v.Inbounds = append(v.Inbounds, xds.Inbound{
			Listen: d.Listen(in), Workload: d.Workload(in), Service: in.Service(), Protocol: in.Protocol(),
			Sources: permit.sources, Doubted: permit.doubted, Callers: permit.callers, Note: note,
		})
	}
	for i := range d.Networking.Outbound {
		out := &d.Networking.Outbound[i]
		v.Outbounds = append(v.Outbounds, xds.Outbound{
			Listen: out.Listen(), Service: out.Service(), Protocol: m.protocol(out.Service()),
			Endpoints: m.endpointsOf(out.Tags), Plain: m.inPlaintext(out.Service()),
		})
	}
	return v, auth, nil
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
