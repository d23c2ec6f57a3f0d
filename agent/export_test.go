package agent

import "github.com/prometheus/client_golang/prometheus"

// Metrics describes what /metrics shows.
func Metrics() prometheus.Collector {
	return newMetrics(nil, &credential{reloads: newReloads()}).registry
}
