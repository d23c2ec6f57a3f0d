package cp

import (
	"time"

	"koguma/policy"
)

// Other control planes of the same store have proxies of the same meshes. What they tell of them (roll.go) means here what the same
// would mean of a session.

// sighted implements [sighter].
func (r *reconciler) sighted() []policy.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]policy.Key, 0, len(r.sessions)+len(r.vanished))
	for key := range r.sessions {
		keys = append(keys, key)
	}
	for key := range r.vanished {
		if r.sessions[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// sight implements [sighter].
func (r *reconciler) sight(key policy.Key) sighting {
	r.mu.Lock()
	s, last := r.sessions[key], r.vanished[key]
	r.mu.Unlock()
	switch {
	case s != nil:
		return s.sighting()
	case last.Gone != nil:
		return last
	}
	return forgotten(key)
}

// sighting is what there is to tell others of the proxy of the session.
func (s *session) sighting() sighting {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	return sighting{
		Mesh: s.key.Mesh, Name: s.key.Name, Since: s.since, Instance: s.instance, Registered: s.registered,
		Took: s.whole.Load(), Takes: takes, Speaks: s.speaks.Load(), Uses: s.delivery.secrets(), Fault: s.fault(faultIdentity),
	}
}

// goneBy is the last sighting of the proxy, whose session ends now.
func (s *session) goneBy(left, out bool) sighting {
	now := time.Now()
	last := s.sighting()
	last.Uses.Since = now
	last.Gone = &goneBy{At: now, Left: left, Out: out}
	return last
}
