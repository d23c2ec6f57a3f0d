package gui

import (
	"slices"

	"koguma/policy"
)

// mostServices is how many services the matrix has. A thousand would be a million cells, which nobody reads.
const mostServices = 200

// The cells of the matrix, one character each.
const (
	cellAllowed = 'a'
	cellPartly  = 'p'
	cellDenied  = 'd'
	cellNobody  = 'n' // there is nobody to reach, or to be reached from
)

// matrix is who may talk to whom in a mesh: by the permissions, whether or not anybody is connected.
type matrix struct {
	services []string
	more     int      // services that are left out
	rows     []string // for each service as a source, a cell for each as a destination
}

// stamp tells states apart whose matrices may differ: by how many resources there are, and the newest version of them.
// Versions only grow, so that nothing can change and leave both as they were.
type stamp struct {
	mesh   string
	count  [3]int
	newest uint64
}

func stampOf(s *State) stamp {
	st := stamp{mesh: s.Mesh.Name, count: [3]int{len(s.Traffic), len(s.MeshTraffic), len(s.Dataplanes)}, newest: s.Mesh.Version}
	for _, p := range s.Traffic {
		st.newest = max(st.newest, p.Version)
	}
	for _, p := range s.MeshTraffic {
		st.newest = max(st.newest, p.Version)
	}
	for _, d := range s.Dataplanes {
		st.newest = max(st.newest, d.Version)
	}
	return st
}

// newMatrix is the matrix of a mesh that there is.
func newMatrix(s *State) matrix {
	reach := policy.NewReach(s.Mesh, policy.NewPermissions(s.Traffic, s.MeshTraffic), s.Dataplanes)
	sources, destinations := reach.Sources(), reach.Destinations()
	m := matrix{services: append(append([]string{}, sources...), destinations...)} // not nil: JSON would have no list
	slices.Sort(m.services)
	m.services = slices.Compact(m.services)
	if m.more = len(m.services) - mostServices; m.more > 0 {
		m.services = m.services[:mostServices]
	}
	m.more = max(0, m.more)
	for _, from := range m.services {
		row := make([]byte, len(m.services))
		for i, to := range m.services {
			row[i] = cellNobody
			if contains(sources, from) && contains(destinations, to) {
				row[i] = cell(reach.Verdict(from, to))
			}
		}
		m.rows = append(m.rows, string(row))
	}
	return m
}

func contains(sorted []string, s string) bool {
	_, found := slices.BinarySearch(sorted, s)
	return found
}

func cell(v policy.Verdict) byte {
	switch v {
	case policy.Allowed:
		return cellAllowed
	case policy.Partly:
		return cellPartly
	}
	return cellDenied
}
