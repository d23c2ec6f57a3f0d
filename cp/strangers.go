package cp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// strangers keeps account of what others than administrators tried and may not. Each attempt is counted, and for each peer address
// there is at most one audit line a second, so that nobody can fill the log.
type strangers struct {
	count prometheus.Counter
	sampler
}

func newStrangers(m *metrics) *strangers { return &strangers{count: m.strangers} }

// add takes one attempt in. It reports whether that may have a line, and how many had none since the last.
func (s *strangers) add(peer string) (suppressed int, ok bool) {
	s.count.Inc()
	return s.admit(peer, time.Now())
}
