package cp

import (
	"fmt"
	"slices"
	"time"

	"koguma/policy"
)

// alone reports whether there is no other control plane.
func (r *roll) alone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers) == 0
}

// take is the proxies of which something was heard since the last time, and whether a control plane was lost. It is not ok if
// nothing was heard of anybody.
func (r *roll) take() (news map[policy.Key]bool, loss, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.heard {
		return nil, false, false
	}
	news, loss = r.news, r.loss
	r.news, r.loss, r.heard = map[policy.Key]bool{}, false, false
	return news, loss, true
}

// sight is the newest that others have told of a proxy, and who of them; "" for one that is lost.
func (r *roll) sight(key policy.Key) (best sighting, peer string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	best, ok = r.bygone[key]
	for id, p := range r.peers {
		s, here := p.seen[key]
		if !here {
			continue
		}
		if !ok || s.newer(&best) || !best.newer(&s) && id > peer {
			best, peer, ok = s, id, true
		}
	}
	return best, peer, ok
}

// of is the newest that others have told of the proxies of a mesh, by name.
func (r *roll) of(mesh string) map[string]sighting {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]sighting{}
	add := func(from map[policy.Key]sighting) {
		for key, s := range from {
			if last, ok := all[key.Name]; key.Mesh == mesh && (!ok || s.newer(&last)) {
				all[key.Name] = s
			}
		}
	}
	add(r.bygone)
	for _, p := range r.peers {
		add(p.seen)
	}
	return all
}

// there reports whether a proxy is connected to another control plane.
func (r *roll) there(key policy.Key) bool {
	s, _, ok := r.sight(key)
	return ok && s.Gone == nil
}

// forget drops what was told of a proxy that is gone.
func (r *roll) forget(key policy.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.bygone, key)
	for _, p := range r.peers {
		if s, ok := p.seen[key]; ok && s.Gone != nil {
			delete(p.seen, key)
		}
	}
}

// has reports whether a control plane answers, and what it tells is what follows from a version of the store, or a later one.
func (r *roll) has(peer string, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[peer]
	return p != nil && p.unheard.IsZero() && p.progress >= version
}

// complete reports whether all other control planes answer.
func (r *roll) complete() bool { return !r.silent(0) }

// silent reports whether a control plane does not answer, and has not for that long.
func (r *roll) silent(long time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if !p.unheard.IsZero() && time.Since(p.unheard) >= long {
			return true
		}
	}
	return false
}

// plain reports whether nobody in a mesh dials under mTLS at other control planes, all of which have offered their proxies what
// follows from a version of the store.
func (r *roll) plain(mesh string, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if !p.unheard.IsZero() || p.progress < version {
			return false
		}
		for key, s := range p.seen {
			if key.Mesh == mesh && s.Gone == nil && s.Speaks {
				return false
			}
		}
	}
	return true
}

// silence is why it is not known how the proxies of others stand that were offered what follows from a version of the store: a
// reason for each control plane; empty if it is known.
func (r *roll) silence(version uint64) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var why []string
	for _, p := range r.peers {
		switch {
		case !p.unheard.IsZero():
			why = append(why, fmt.Sprintf("control plane %s does not answer (since %s)", p.address, policy.Moment(p.unheard)))
		case p.progress < version:
			why = append(why, fmt.Sprintf("control plane %s has not offered its proxies the newest configuration yet", p.address))
		}
	}
	slices.Sort(why)
	return why
}
