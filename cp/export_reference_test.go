package cp

import "github.com/prometheus/client_golang/prometheus"

// Metrics describes what /metrics tells.
func Metrics() prometheus.Collector {
	m := newMetrics()
	m.registry.MustRegister(expiries{})
	return m.registry
}
