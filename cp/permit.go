package cp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"koguma/policy"
	"koguma/xds"
)

// verdict is whom the permissions let in.
type verdict struct {
	name    string // of those that decide, "" if there are none
	version uint64
	sources []policy.Source
	doubted []policy.Source
	callers []string // the services that have a filter chain
	err     error    // why nobody can be let in by them
}

// namesOf is what the certificate of a proxy names besides its first service.
func (m *meshIndex) namesOf(d *policy.Dataplane) string {
	names, ok := m.names[d.Name]
	if !ok {
		names = strings.Join(xds.TagNames(d.Peer(d.Services()[0])), " ")
		m.names[d.Name] = names
	}
	return names
}

// rearrange has the permissions looked at anew.
func (m *meshIndex) rearrange() {
	m.arranged = nil
	clear(m.permitted)
}

// permit is whom the permissions let in at an inbound.
func (m *meshIndex) permit(d *policy.Dataplane, in *policy.Inbound) verdict {
	if m.arranged == nil {
		all := policy.NewPermissions(slices.Collect(maps.Values(m.permissions)), slices.Collect(maps.Values(m.meshTraffic)))
		m.arranged = &all
	}
	merged, key := m.arranged.Merge(d, in), fmt.Sprint(in.Tags) // maps print in the order of their keys
	if merged != nil {
		key = fmt.Sprintf("%s %p", in.Service(), merged)
	}
	v, ok := m.permitted[key]
	if ok {
		return v
	}
	if merged != nil && merged.Check() != nil {
		v = verdict{err: merged.Check()}
	} else if merged != nil {
		v = verdict{name: merged.String(), version: merged.Version(), sources: merged.Admitted(), doubted: merged.ShadowDenied()}
	} else if p := m.arranged.Match(in.Tags); p != nil {
		v = verdict{name: p.Name, version: p.Version, sources: p.Admitted()}
	}
	v.callers = m.callers(in.Service(), v.sources)
	m.permitted[key] = v
	return v
}

// callers is the services that the sources name and, where one is of any service, those that have an outbound to this one,
// sorted.
func (m *meshIndex) callers(to string, sources []policy.Source) []string {
	found := map[string]bool{}
	for _, s := range sources {
		if s.Service != "" {
			found[s.Service] = true
			continue
		}
		for _, d := range m.service(to).dialers {
			if name := d.Services()[0]; len(policy.Narrow([]policy.Source{s}, name)) > 0 {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
