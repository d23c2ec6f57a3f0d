package cp

import (
	"time"

	"koguma/policy"
	"koguma/xds"
)

// How mTLS is turned on and off in a mesh with traffic: who is dialled has to take what those who dial him speak. By way of
// PERMISSIVE nothing is lost. Going on, a service is dialled under mTLS when all of its proxies are known to take it; going
// off, inbounds stay permissive until nobody dials under mTLS any more. Between STRICT and off there is no such way: STRICT
// is never less than it says.
//
// A control plane that is started in the midst of it takes it for done.

const (
	// mostWait bounds the wait for proxies to stop dialling under mTLS: one that hangs must not keep mTLS from being off.
	mostWait = 10 * time.Second
	// settling is how long an Envoy may take to use clusters that it has acknowledged.
	settling = time.Second
)

// setMesh takes in what became of the Mesh.
func (m *meshIndex) setMesh(mesh *policy.Mesh, live bool) {
	before := m.mode()
	if live && before == policy.ModePermissive && mesh != nil && xds.ModeOf(mesh) == xds.ModeOff {
		m.next, m.speaking, m.settling = mesh, nil, false
		return
	}
	m.mesh, m.next, m.speaking, m.settling = mesh, nil, nil, false
	switch {
	case m.mode() != policy.ModePermissive:
		m.deaf = nil
	case live && before == xds.ModeOff:
		m.deaf = map[string]bool{}
		for name := range m.dataplanes {
			m.deaf[name] = true
		}
	}
}

// newest is the Mesh as it was written last, whose mode may not hold yet; nil if there is none.
func (m *meshIndex) newest() *policy.Mesh {
	if m.next != nil {
		return m.next
	}
	return m.mesh
}

// mode is what the Mesh says of plaintext.
func (m *meshIndex) mode() string {
	if m.mesh == nil {
		return policy.ModeStrict
	}
	return xds.ModeOf(m.mesh)
}

// inPlaintext reports whether a service is dialled in plaintext although there is mTLS.
func (m *meshIndex) inPlaintext(service string) bool {
	if m.next != nil {
		return true
	}
	if len(m.deaf) == 0 {
		return false
	}
	for name := range m.service(service).instances {
		if m.deaf[name] {
			return true
		}
	}
	return false
}

// hears notes that the proxy of a session takes mTLS, as well as plaintext.
func (r *reconciler) hears(s *session) {
	s.listens(policy.ModePermissive)
	r.mu.Lock()
	r.hearing = append(r.hearing, s)
	r.mu.Unlock()
	r.signal()
}

// awaitSilence begins to wait for those who dial under mTLS, in a mesh where it is to be off.
func (r *reconciler) awaitSilence(mesh string) {
	m := r.index.at(mesh)
	if m.next == nil || m.speaking != nil {
		return
	}
	m.speaking = map[string]bool{}
	r.mu.Lock()
	for key, s := range r.sessions {
		if key.Mesh == mesh && s.speaks.Load() {
			m.speaking[key.Name] = true
		}
	}
	r.mu.Unlock()
	r.turnOffIn(mesh, m.next, mostWait)
	r.turnOffSoon(m)
}

// turnOffSoon has mTLS be off soon in a mesh where it is to be off, if nobody dials under it any more, here or at other control
// planes.
func (r *reconciler) turnOffSoon(m *meshIndex) {
	if m.next == nil || m.settling || len(m.speaking) > 0 || !r.roll.plain(m.next.Name, m.next.Version) {
		return
	}
	m.settling = true
	r.turnOffIn(m.next.Name, m.next, settling)
}

// silent notes that the proxy of a session, which may have gone, no longer dials under mTLS.
func (r *reconciler) silent(key policy.Key) {
	r.mu.Lock()
	r.silenced = append(r.silenced, key)
	r.mu.Unlock()
	r.signal()
}

// turnOffIn has the Mesh that says so take effect after a while.
func (r *reconciler) turnOffIn(mesh string, next *policy.Mesh, wait time.Duration) {
	time.AfterFunc(wait, func() {
		r.mu.Lock()
		r.off = append(r.off, next)
		r.mu.Unlock()
		r.signal()
	})
}

// switchOver sees to meshes that come under mTLS, or out of it. It adds those to look at again to now.
func (r *reconciler) switchOver(now map[string]bool) {
	r.mu.Lock()
	hearing, silenced, off := r.hearing, r.silenced, r.off
	r.hearing, r.silenced, r.off = nil, nil, nil
	r.mu.Unlock()
	for _, s := range hearing {
		if m := r.index.at(s.key.Mesh); m.deaf[s.key.Name] && r.connected(s.key) == s {
			delete(m.deaf, s.key.Name)
			now[s.key.Mesh] = true
		}
	}
	for _, key := range silenced {
		m := r.index.at(key.Mesh)
		if s := r.connected(key); !m.speaking[key.Name] || s != nil && s.speaks.Load() {
			continue
		}
		delete(m.speaking, key.Name)
	}
	for _, m := range r.index.meshes {
		r.turnOffSoon(m)
	}
	for _, next := range off {
		if m := r.index.at(next.Name); m.next == next {
			m.mesh, m.next, m.speaking, m.settling, m.doubted = next, nil, nil, false, true
			now[next.Name] = true
		}
	}
}

// dials notes what the proxy has acknowledged of the clusters of services.
func (s *session) dials(e xds.Event) {
	if s.base == nil || e.Version != s.base.Clusters.Version() {
		return
	}
	speaks := false
	for _, out := range s.built.Outbounds {
		speaks = speaks || s.built.MTLS && !out.Plain
	}
	spoke := s.speaks.Swap(speaks)
	if spoke != speaks {
		s.reconciler.roll.touch(s.key)
	}
	if spoke && !speaks {
		s.reconciler.silent(s.key)
	}
}

// listens notes which mode the proxy is known to listen in, "" for none, so far as it was sent that. An ACK says nothing of
// permissive listeners: that they are in use, the agent reports.
func (s *session) listens(mode string) {
	if s.of == nil || !s.of.MTLS {
		mode = ""
	}
	s.mu.Lock()
	same := s.takes == mode
	s.takes = mode
	s.mu.Unlock()
	if !same {
		s.reconciler.roll.touch(s.key)
	}
}
