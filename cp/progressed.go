package cp

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"koguma/cp/explain"
	"koguma/policy"
	"koguma/store"
)

// batch is changes that lead to a version of the store.
type batch struct {
	events  []store.Event
	version uint64
}

// progressed is up to which version of the store all sessions were offered what follows from it. The zero value is ready
// to use.
type progressed struct {
	mu      sync.Mutex
	version uint64
	behind  map[string]uint64 // meshes with changes that wait: the version before those
}

// come notes that all was offered up to that version, but for what waits in these meshes.
func (p *progressed) come(version uint64, waiting map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.behind, func(mesh string, _ uint64) bool { return !waiting[mesh] })
	for mesh := range waiting {
		if _, ok := p.behind[mesh]; !ok {
			if p.behind == nil {
				p.behind = map[string]uint64{}
			}
			p.behind[mesh] = p.version
		}
	}
	p.version = version
}

// of is the version up to which all was offered in a mesh.
func (p *progressed) of(mesh string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v, ok := p.behind[mesh]; ok {
		return v
	}
	return p.version
}

// Delivery implements [api.Courier].
func (r *reconciler) Delivery(mesh string, version uint64, all []policy.Key) policy.Delivery {
	d := policy.Delivery{Mesh: mesh, Version: r.progress.of(mesh), Pending: []policy.ProxyPending{}, Absent: []policy.AbsentProxy{}}
	sessions := map[string]*session{}
	endings := map[string]explain.Ending{}
	r.mu.Lock()
	for key, s := range r.sessions {
		if key.Mesh == mesh {
			sessions[key.Name] = s
		}
	}
	for _, key := range all {
		endings[key.Name] = r.endings[key]
	}
	r.mu.Unlock()
	d.Proxies = len(sessions)
	for name, s := range sessions {
		for _, p := range s.pending(version) {
			d.Pending = append(d.Pending, policy.ProxyPending{Proxy: name, Pending: p})
		}
	}
	for name, e := range endings {
		if sessions[name] == nil {
			d.Absent = append(d.Absent, e.Absent(name))
		}
	}
	slices.SortStableFunc(d.Pending, func(a, b policy.ProxyPending) int { return cmp.Compare(a.Proxy, b.Proxy) })
	slices.SortFunc(d.Absent, func(a, b policy.AbsentProxy) int { return cmp.Compare(a.Proxy, b.Proxy) })
	return d
}
