package cp

import (
	"maps"
	"sync"

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
