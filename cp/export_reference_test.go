package cp

import (
	"github.com/prometheus/client_golang/prometheus"

	"koguma/store"
)

// Metrics describes what /metrics tells.
func Metrics() prometheus.Collector {
	m := newMetrics()
	m.registry.MustRegister(expiries{}, laggards{}, storeUp(store.NewMemory()))
	return m.registry
}
