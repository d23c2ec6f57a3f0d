package cp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"koguma/policy"
	"koguma/xds"
)

// verdict is whom a permission lets in.
type verdict struct {
	name    string // of the permission, "" if there is none
	version uint64
	sources []policy.Source
	callers []string // the services that have a filter chain
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
		v.sources = p.Admitted()
		v.callers = m.callers(tags[policy.TagService], v.sources)
	}
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
			found[d.Services()[0]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
