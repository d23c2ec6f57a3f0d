package cp

import (
	"time"

	"koguma/policy"
)

// settlement is that the proxy of a session has taken all of a Dataplane.
type settlement struct {
	session   *session
	dataplane *policy.Dataplane
}

// parting is a proxy whose stream has ended. left says that it meant to, and out that it was put out.
type parting struct {
	session   *session
	left, out bool
}

// join adds a session. The newest of a proxy is the one that counts.
func (r *reconciler) join(s *session) {
	elsewhere, _, _ := r.roll.sight(s.key)
	r.mu.Lock()
	older, last := r.sessions[s.key], r.vanished[s.key]
	if older != nil {
		last = older.sighting()
	}
	s.begin(&last, &elsewhere)
	delete(r.vanished, s.key)
	r.sessions[s.key] = s
	delete(r.endings, s.key)
	r.joined = append(r.joined, s)
	r.metrics.sessions.Set(float64(len(r.sessions)))
	r.mu.Unlock()
	r.roll.touch(s.key)
	if older != nil {
		older.end(takenOver(older, s.instance))
	}
	r.signal()
}

// settled notes that the proxy of a session has taken all of a Dataplane, so that others may be sent to it.
func (r *reconciler) settled(s *session, d *policy.Dataplane) {
	r.mu.Lock()
	r.ready = append(r.ready, settlement{s, d})
	r.mu.Unlock()
	r.roll.touch(s.key)
	r.signal()
}

// part takes a session away.
func (r *reconciler) part(s *session, left, out bool) {
	id, ending := s.identity(time.Now()), s.ending(left, out)
	r.mu.Lock()
	if r.sessions[s.key] == s {
		delete(r.sessions, s.key)
		i := s.overview()
		i.Subscriptions[0].DisconnectTime = time.Now().UTC()
		r.last[s.key] = i
		r.known[s.key] = parted(id)
		r.parted = append(r.parted, parting{s, left, out})
		r.endings[s.key] = ending
		r.vanished[s.key] = s.goneBy(left, out)
	}
	r.metrics.sessions.Set(float64(len(r.sessions)))
	r.mu.Unlock()
	r.roll.touch(s.key)
	r.signal()
	r.rotations.look(s.key.Mesh)
}

// connected is the session of a proxy, nil if it has none.
func (r *reconciler) connected(key policy.Key) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[key]
}

// Insight implements [api.Watcher].
func (r *reconciler) Insight(key policy.Key) policy.DataplaneInsight {
	r.mu.Lock()
	s, last := r.sessions[key], r.last[key]
	r.mu.Unlock()
	if s != nil {
		return s.overview()
	}
	return last
}

// comeAndGo sees to those that joined and parted.
func (r *reconciler) comeAndGo(now, waiting map[string]bool, leavers *departures) {
	r.mu.Lock()
	joined, ready, parted, leaving := r.joined, r.ready, r.parted, r.leaving
	r.joined, r.ready, r.parted, r.leaving = nil, nil, nil, nil
	r.mu.Unlock()
	for _, p := range parted {
		key := p.session.key
		if r.connected(key) != nil {
			continue
		}
		r.silent(key)
		if (p.session.registered || p.left) && !r.movedOn(p.session) {
			leavers.expect(key, p.left)
		}
		switch d := r.index.at(key.Mesh).dataplanes[key.Name]; {
		case d == nil:
			r.forget(key)
		case p.out || p.left && r.roll.alone():
			r.leave(key, now)
		case p.left:
			r.leaveSoon(key)
		}
	}
	for _, key := range leaving {
		r.leave(key, now)
	}
	for _, s := range joined {
		if r.connected(s.key) != s {
			continue // gone already
		}
		m := r.index.at(s.key.Mesh)
		if d := m.dataplanes[s.key.Name]; d != nil {
			r.offerOne(m, d, s)
		}
	}
	for _, s := range ready {
		key := s.session.key
		m := r.index.at(key.Mesh)
		if d := m.dataplanes[key.Name]; d != nil && d == s.dataplane && r.connected(key) == s.session && m.enter(d) {
			waiting[key.Mesh] = true
		}
	}
}
