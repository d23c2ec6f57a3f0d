package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Strangers keeps account of what others than administrators tried and may not. Each attempt is counted, and for each peer address
// there is at most one audit line a second, so that nobody can fill the log.
type Strangers struct {
	Count   prometheus.Counter
	sampler Sampler
}

// add takes one attempt in. It reports whether that may have a line, and how many had none since the last.
func (s *Strangers) add(peer string) (suppressed int, ok bool) {
	s.Count.Inc()
	return s.sampler.Admit(peer, time.Now())
}
