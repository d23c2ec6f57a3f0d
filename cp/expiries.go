package cp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiries are the metrics that say when something ends, and what should have been renewed. They are worked out when
// somebody looks.
type expiries struct {
	cert       *serverCert
	reconciler *reconciler
}

func serverEnd() *prometheus.Desc {
	return prometheus.NewDesc("koguma_server_certificate_not_after_seconds",
		"When the certificate of the DP server ends, in seconds since 1970.", nil, nil)
}

func rootEnd() *prometheus.Desc {
	return prometheus.NewDesc("koguma_mesh_root_not_after_seconds",
		"When the first of the roots of a mesh ends, in seconds since 1970, by mesh and backend.", []string{"mesh", "backend"}, nil)
}

func overdueCount() *prometheus.Desc {
	return prometheus.NewDesc("koguma_renewals_overdue",
		"Proxies that are connected whose certificate should have had a successor by now.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (x expiries) Describe(ch chan<- *prometheus.Desc) {
	ch <- serverEnd()
	ch <- rootEnd()
	ch <- overdueCount()
}

// Collect implements [prometheus.Collector].
func (x expiries) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if cert, err := x.cert.get(nil); err == nil {
		gauge(serverEnd(), float64(cert.Leaf.NotAfter.Unix()))
	}
	gauge(overdueCount(), float64(x.reconciler.overdue(time.Now())))
	x.reconciler.mu.Lock()
	defer x.reconciler.mu.Unlock()
	for mesh, ends := range x.reconciler.rootEnds {
		for backend, end := range ends {
			gauge(rootEnd(), float64(end.Unix()), mesh, backend)
		}
	}
}

// overdue is how many of the proxies that are connected should have another certificate by now.
func (r *reconciler) overdue(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sessions {
		s.mu.Lock()
		if overdue(s.insight.leaf, now) {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// noteRoots notes when the roots of these meshes end.
func (r *reconciler) noteRoots(meshes map[string]bool) {
	for mesh := range meshes {
		ends := r.index.at(mesh).rootEnds()
		r.mu.Lock()
		r.rootEnds[mesh] = ends
		r.mu.Unlock()
	}
}

// rootEnds is when the first of the roots of each backend ends that is trusted.
func (m *meshIndex) rootEnds() map[string]time.Time {
	if m.trust == nil {
		return nil
	}
	first := map[string]time.Time{}
	ends := endsOf(m.trust)
	for _, a := range m.trust.Authorities {
		if last, end := first[a.Backend], ends[a.Fingerprint]; last.IsZero() || end.Before(last) {
			first[a.Backend] = end
		}
	}
	return first
}
