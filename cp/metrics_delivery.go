package cp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/xds"
)

// deliveries are the metrics of what goes out to proxies, and what they say of it.
type deliveries struct {
	responses *prometheus.CounterVec
	taken     prometheus.Histogram
}

func newDeliveries() *deliveries {
	d := &deliveries{
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "koguma_xds_responses_total", Help: "Responses that were sent to proxies, by what was in them.",
		}, []string{"type"}),
		taken: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "koguma_xds_acknowledged_seconds", Help: "How long it took until a proxy had what it should have, by its acknowledgement.",
			Buckets: []float64{0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 15, 60},
		}),
	}
	for _, t := range deliveredTypes {
		d.responses.WithLabelValues(t.name)
	}
	return d
}

// observe counts what happened on a stream. to is what its proxy should have, and does not know of the event yet.
func (d *deliveries) observe(e xds.Event, to *delivery) {
	switch e.Kind {
	case xds.Sent:
		for _, t := range deliveredTypes {
			if t.url == e.Type {
				d.responses.WithLabelValues(t.name).Inc()
			}
		}
	case xds.Acked:
		if took, ok := to.took(e, time.Now()); ok {
			d.taken.Observe(took.Seconds())
		}
	}
}

// took is how long the proxy should have had what it has now acknowledged. ok is whether that is new.
func (d *delivery) took(e xds.Event, now time.Time) (took time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.of(e.Type)
	if e.Version != p.wanted || p.acked == p.wanted {
		return 0, false
	}
	return now.Sub(p.since), true
}

// leeway is how long a proxy may take for what it should have, before it counts as behind.
const leeway = 30 * time.Second

// laggards is the metric that says how many proxies are behind. It is worked out when somebody looks.
type laggards struct{ reconciler *reconciler }

func behindCount() *prometheus.Desc {
	return prometheus.NewDesc("koguma_proxies_behind",
		"Proxies that are connected and have not acknowledged for 30 s what they should have.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (l laggards) Describe(ch chan<- *prometheus.Desc) { ch <- behindCount() }

// Collect implements [prometheus.Collector].
func (l laggards) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(behindCount(), prometheus.GaugeValue, float64(l.reconciler.behind(time.Now())))
}

// behind is how many of the proxies that are connected lack for too long what they should have.
func (r *reconciler) behind(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sessions {
		for _, p := range s.delivery.pending() {
			if !p.Since.IsZero() && now.Sub(p.Since) >= leeway {
				n++
				break
			}
		}
	}
	return n
}
