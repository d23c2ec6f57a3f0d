package cp

import (
	"time"

	"koguma/policy"
)

// sighting is what a control plane tells the others of a proxy that is, or was just now, connected to it.
type sighting struct {
	Mesh     string    `json:"mesh"`
	Name     string    `json:"name"`
	Since    time.Time `json:"since,omitzero"`     // of the stream, by the clock of its control plane
	Instance string    `json:"instance,omitempty"` // which run of the agent this is
	Took     uint64    `json:"took,omitempty"`     // the version of the Dataplane that it has taken wholly, 0 if none yet
	// Takes is the mode of the listeners that it is known to use: PERMISSIVE, STRICT, or "" where they may be in plaintext.
	Takes  string    `json:"takes,omitempty"`
	Speaks bool      `json:"speaks,omitempty"` // it dials under mTLS
	Uses   secretUse `json:"uses"`
	Fault  string    `json:"fault,omitempty"` // why it has no certificate, as far as that is on the side of its control plane
	Gone   *goneBy   `json:"gone,omitempty"`  // nil while it is connected
}

// goneBy is how a stream has ended: the proxy meant to leave, or was put out. Without a time there is nothing more to know of
// the proxy.
type goneBy struct {
	At   time.Time `json:"at,omitzero"`
	Left bool      `json:"left,omitempty"`
	Out  bool      `json:"out,omitempty"`
}

func (s *sighting) key() policy.Key {
	return policy.Key{Type: policy.TypeDataplane, Mesh: s.Mesh, Name: s.Name}
}

// forgotten is that there is nothing to know of a proxy any more.
func forgotten(key policy.Key) sighting {
	return sighting{Mesh: key.Mesh, Name: key.Name, Gone: &goneBy{}}
}

func (s *sighting) isForgotten() bool { return s.Gone != nil && s.Gone.At.IsZero() }

// serves reports whether others may be sent to the proxy, whose Dataplane is that version: its Envoy has taken that, and it
// has not left since.
func (s *sighting) serves(version uint64) bool {
	return s.Took >= version && !s.departed()
}

// departed reports whether the proxy has left or was put out: it does not just come back.
func (s *sighting) departed() bool { return s.Gone != nil && (s.Gone.Left || s.Gone.Out) }

// newer reports whether s says more of a proxy than another sighting of it: one who is connected more than one who is gone,
// and the newer stream, or end of one, more than the older.
func (s *sighting) newer(o *sighting) bool {
	switch {
	case s.Gone == nil && o.Gone == nil:
		return s.Since.After(o.Since)
	case s.Gone == nil || o.Gone == nil:
		return s.Gone == nil
	}
	return s.Gone.At.After(o.Gone.At)
}

// shift has the times be by our clock, which is that much ahead. That of the stream stays: all control planes have to find the
// same one to be the newest.
func (s *sighting) shift(ahead time.Duration) {
	move := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(ahead)
		}
	}
	move(&s.Uses.Since)
	for i := range s.Uses.States {
		move(&s.Uses.States[i].RootsAt)
		move(&s.Uses.States[i].LeavesAt)
	}
	if s.Gone != nil {
		move(&s.Gone.At)
	}
}
