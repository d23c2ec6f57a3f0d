package agent

import "koguma/xds"

// secrets are those that Envoy has taken last, and the newest. Those that it does not ask for need not be taken.
func (s *state) secrets() (taken, newest *xds.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[xds.TypeSecret]
	if s.session != nil && !k.asked {
		return k.newest, k.newest
	}
	return k.good, k.newest
}

// usable are the secrets for programs beside Envoy, and a channel that is closed when that may have changed. Programs get
// what Envoy has taken, so that both are the same to others; and what it will be given while it has taken none.
func (s *state) usable() (*xds.Set, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[xds.TypeSecret]
	if k.refusal == "" && (s.session == nil || k.took == "") {
		return k.newest, s.turned
	}
	return k.good, s.turned
}

// turn tells those who wait for it that other secrets may be of use, if something has happened to these. The caller holds
// the lock.
func (s *state) turn(k *kind) {
	if k == s.kinds[xds.TypeSecret] {
		close(s.turned)
		s.turned = make(chan struct{})
	}
}
