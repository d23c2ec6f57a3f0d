package cp

import (
	"sync"

	"koguma/xds"
)

// taken is what a proxy has said that it has, by type. The zero value is ready to use, from several goroutines.
type taken struct {
	mu   sync.Mutex
	sent map[string][]generation // the newest last
	has  map[string]generation
}

// generation is a set of resources, and the view that it was made from.
type generation struct {
	set  *xds.Set
	view *xds.View
}

// mostGenerations bounds how many sets of a type are remembered that a proxy may yet say that it has.
const mostGenerations = 4

// made notes what the proxy should have.
func (t *taken) made(s *xds.Snapshot, v *xds.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent == nil {
		t.sent, t.has = map[string][]generation{}, map[string]generation{}
	}
	for _, typ := range deliveredTypes {
		g := generation{s.Of(typ.url), v}
		all := t.sent[typ.url]
		if n := len(all); n > 0 && all[n-1].set.Version() == g.set.Version() {
			all = all[:n-1] // it says the same
		}
		all = append(all, g)
		t.sent[typ.url] = all[max(0, len(all)-mostGenerations):]
		if has, ok := t.has[typ.url]; ok && has.set.Version() == g.set.Version() {
			t.has[typ.url] = g
		}
	}
}

// acked notes that the proxy has the set with that version. Others than those that it should have are passed over: it has
// more then, for as long as it may use that.
func (t *taken) acked(typ, version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.sent[typ]) - 1; i >= 0; i-- {
		if g := t.sent[typ][i]; g.set.Version() == version {
			t.has[typ] = g
			return
		}
	}
}

// of is what the proxy has of a type; the zero generation if it has said nothing.
func (t *taken) of(typ string) generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.has[typ]
}
