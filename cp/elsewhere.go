package cp

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/policy"
)

// Other control planes of the same store have proxies of the same meshes. What they tell of them (roll.go) means here what the same
// would mean of a session.

// sighted implements [sighter].
func (r *reconciler) sighted() []policy.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[policy.Key]bool{}
	for key := range r.sessions {
		all[key] = true
	}
	for key := range r.vanished {
		all[key] = true
	}
	for key, e := range r.endings {
		if e.Left || e.Out {
			all[key] = true
		}
	}
	return slices.Collect(maps.Keys(all))
}

// sight implements [sighter].
func (r *reconciler) sight(key policy.Key) sighting {
	r.mu.Lock()
	s, last, e := r.sessions[key], r.vanished[key], r.endings[key]
	r.mu.Unlock()
	switch {
	case s != nil:
		return s.sighting()
	case last.Gone != nil:
		return last
	case e.Left || e.Out: // and nothing of it matters to a rotation any more
		return sighting{Mesh: key.Mesh, Name: key.Name, Gone: &goneBy{e.At, e.Left, e.Out}}
	}
	return forgotten(key)
}

// sighting is what there is to tell others of the proxy of the session.
func (s *session) sighting() sighting {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	return sighting{
		Mesh: s.key.Mesh, Name: s.key.Name, Since: s.since, Instance: s.instance,
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

const (
	// movePause is how long others are still sent to a proxy that has left, where it may just have moved to another control plane,
	// which has to say so first. The agent's Envoy takes connections for longer.
	movePause = 100 * time.Millisecond
	// moveTime is how long the Dataplane of such a proxy stays.
	moveTime = time.Second
	// patience is how long a control plane may be silent before its proxies count as there, ready or not.
	patience = 10 * time.Second
)

// there reports whether a proxy is connected, here or elsewhere.
func (r *reconciler) there(key policy.Key) bool { return r.connected(key) != nil || r.roll.there(key) }

// movedOn reports whether the proxy of a session that has ended has had a newer stream elsewhere, which may have ended as well.
func (r *reconciler) movedOn(s *session) bool {
	o, peer, ok := r.roll.sight(s.key)
	return ok && r.follows(&o, peer, s)
}

// follows reports whether the stream of a proxy to another control plane is newer than a session. Of any two streams all find the
// same one to be the newer.
func (r *reconciler) follows(o *sighting, peer string, s *session) bool {
	return o.Since.After(s.since) || o.Since.Equal(s.since) && peer > r.roll.self
}

// hearOthers sees to what other control planes have told.
func (r *reconciler) hearOthers(now, waiting map[string]bool, leavers *departures) {
	news, loss, ok := r.roll.take()
	if !ok {
		return
	}
	for key := range news {
		r.hearOf(key, now, waiting, leavers)
	}
	if loss && r.index.live {
		leavers.expectBack(r.index)
	}
	for mesh, m := range r.index.meshes {
		if r.undeafen(m) {
			now[mesh] = true
		}
	}
	r.rotations.lookAgain()
	r.rotations.signal()
}

// hearOf sees to what is known from others of a proxy, whenever that or its Dataplane changes.
func (r *reconciler) hearOf(key policy.Key, now, waiting map[string]bool, leavers *departures) {
	o, peer, ok := r.roll.sight(key)
	if !ok {
		return
	}
	if mine := r.connected(key); mine != nil {
		r.share(mine, &o, peer)
		return
	}
	if !r.outdates(&o) {
		return
	}
	if peer == "" && o.Gone.Left {
		leavers.expect(key, true) // its control plane may not have come to it
	}
	m := r.index.at(key.Mesh)
	d := m.dataplanes[key.Name]
	switch {
	case d == nil:
	case o.departed():
		if !m.left[key.Name] {
			r.leaveSoon(key)
		}
	case o.serves(d.Version) && m.enter(d):
		waiting[key.Mesh] = true
	}
}

// share sees to a proxy that is known here and elsewhere. The newest stream is the one that counts; what was known by the other
// still holds.
func (r *reconciler) share(mine *session, o *sighting, peer string) {
	if mine.delivery.inherit(o.Uses) {
		r.roll.touch(mine.key)
	}
	if o.Gone == nil && r.follows(o, peer, mine) {
		mine.end(takenOver(mine, o.Instance))
	}
}

// takenOver is why a session ends when another run of the agent, or the same one, has a newer stream.
func takenOver(s *session, instance string) error {
	reason := "a newer stream has taken over %s; two proxies must not share a name"
	if s.instance != "" && s.instance == instance {
		reason = "%s has a newer stream"
	}
	return status.Errorf(codes.AlreadyExists, reason, s.key)
}

// outdates reports whether others know more of a proxy than is known here of its last stream. That is dropped when it has come to
// another control plane since.
func (r *reconciler) outdates(o *sighting) bool {
	key := o.key()
	r.mu.Lock()
	own, was := r.vanished[key]
	back := o.Gone == nil && o.Since.After(r.endings[key].At)
	if back {
		delete(r.vanished, key)
		delete(r.endings, key)
	}
	r.mu.Unlock()
	if back && was {
		r.roll.touch(key)
	}
	return !was || o.newer(&own)
}

// leaveSoon takes the instances of a proxy that has left away from others, unless it turns up elsewhere.
func (r *reconciler) leaveSoon(key policy.Key) {
	time.AfterFunc(movePause, func() {
		r.mu.Lock()
		r.leaving = append(r.leaving, key)
		r.mu.Unlock()
		r.signal()
	})
}

// leave takes the instances of a proxy away from others if it is nowhere.
func (r *reconciler) leave(key policy.Key, now map[string]bool) {
	m := r.index.at(key.Mesh)
	if d := m.dataplanes[key.Name]; d != nil && !m.left[key.Name] && !r.there(key) {
		m.leave(d)
		now[key.Mesh] = true
	}
}

// suppose has those be there who may be so for all that is known, while a control plane is silent.
func (r *reconciler) suppose(waiting map[string]bool) {
	if !r.roll.silent(patience) {
		return
	}
	for mesh, m := range r.index.meshes {
		for name, d := range m.dataplanes {
			if m.left[name] || time.Since(d.ModificationTime) < patience || r.connected(d.Key()) != nil {
				continue
			}
			if _, peer, ok := r.roll.sight(d.Key()); ok && r.roll.has(peer, 0) {
				continue // it is about to be there
			}
			if m.enter(d) {
				waiting[mesh] = true
			}
		}
	}
}

// undeafen takes in who takes mTLS at other control planes, in a mesh that is coming under it. It reports whether there was
// anybody.
func (r *reconciler) undeafen(m *meshIndex) bool {
	any := false
	for name := range m.deaf {
		o, peer, ok := r.roll.sight(policy.Key{Type: policy.TypeDataplane, Mesh: m.mesh.Name, Name: name})
		if ok && o.Gone == nil && o.Takes != "" && r.roll.has(peer, m.mesh.Version) {
			delete(m.deaf, name)
			any = true
		}
	}
	return any
}

// begin has the session go on with what is known of its proxy, here and from others. Its stream is newer than theirs, whatever the
// clocks say.
func (s *session) begin(here, elsewhere *sighting) {
	known := []*sighting{here, elsewhere}
	if elsewhere.newer(here) {
		slices.Reverse(known)
	}
	for _, o := range known {
		s.delivery.inherit(o.Uses)
		if !s.since.After(o.Since) {
			s.since = o.Since.Add(time.Nanosecond)
		}
	}
}
