package cp

import (
	"net/netip"
	"slices"

	"koguma/policy"
	"koguma/xds"
)

// leave takes the instances of a proxy away from others, although its Dataplane stays.
func (m *meshIndex) leave(d *policy.Dataplane) {
	m.away[d.Name], m.left[d.Name] = true, true
	m.place(d, d)
}

// enter brings the instances of a proxy back, and those that its Dataplane has got lately. It reports whether there were
// any.
func (m *meshIndex) enter(d *policy.Dataplane) bool {
	if !m.away[d.Name] && m.former[d.Name] == nil {
		return false
	}
	delete(m.away, d.Name)
	delete(m.left, d.Name)
	delete(m.former, d.Name)
	m.place(d, d)
	return true
}

// judge takes the instances of a Dataplane away that may not be in the mesh, and gives those back that may again.
func (m *meshIndex) judge(d *policy.Dataplane) {
	mesh := m.newest()
	barred := mesh != nil && mesh.Admit(d) != nil
	if barred == m.barred[d.Name] {
		return
	}
	if barred {
		m.barred[d.Name] = true
	} else {
		delete(m.barred, d.Name)
	}
	m.place(d, d)
}

// taken reports whether the proxy has an inbound with these tags for sure. One that its Dataplane has only got, or whose
// tags have changed, may not have its certificate yet.
func (m *meshIndex) taken(d *policy.Dataplane, in *policy.Inbound, tags map[string]string) bool {
	was := m.former[d.Name]
	return was == nil || slices.ContainsFunc(was.Networking.Inbound, func(o policy.Inbound) bool {
		return was.Listen(&o) == d.Listen(in) && o.State != policy.StateIgnored && policy.Subset(tags, o.Tags)
	})
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
		if m.away[name] || m.barred[name] {
			continue
		}
		for i := range d.Networking.Inbound {
			if in := &d.Networking.Inbound[i]; in.Ready() && policy.Subset(tags, in.Tags) && m.taken(d, in, tags) {
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
