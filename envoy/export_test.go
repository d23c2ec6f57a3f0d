package envoy

import "time"

// SetSettled makes s take an Envoy that ran for d for one that lasted.
func (s *Supervisor) SetSettled(d time.Duration) { s.settled = d }
