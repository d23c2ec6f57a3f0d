package cp

import (
	"github.com/prometheus/client_golang/prometheus"

	"koguma/store"
)

// storeUp tells whether the store takes writes.
func storeUp(s store.Store) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "koguma_store_up", Help: "1 if the store takes changes, as far as is known; 0 if not.",
	}, func() float64 {
		if s.Fault() != nil {
			return 0
		}
		return 1
	})
}
