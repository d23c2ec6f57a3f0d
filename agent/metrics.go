package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what /metrics shows.
type metrics struct {
	registry  *prometheus.Registry
	connected prometheus.Gauge
	starts    prometheus.Counter
	denied    *prometheus.CounterVec
}

func newMetrics(id *identity, cred *credential, guard *ratchet) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kuma_dp_control_plane_connected",
			Help: "Whether the control plane has let this proxy in, and the stream is open.",
		}),
		starts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kuma_dp_envoy_starts_total",
			Help: "How often Envoy was started.",
		}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuma_dp_denied_connections_total",
			Help: "Connections to the services of this proxy, and HTTP requests over such, that Envoy denied.",
		}, []string{"service", "reason"}),
	}
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kuma_dp_certificate_not_after_seconds",
		Help: "When the first of the proxy's certificates ends, in seconds since 1970; 0 while there is none.",
	}, func() float64 {
		if end := id.notAfter(nil); !end.IsZero() {
			return float64(end.Unix())
		}
		return 0
	})
	m.registry.MustRegister(m.connected, m.starts, m.denied, expiry, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kuma_dp_token_not_after_seconds",
		Help: "When the token in use ends (exp), in seconds since 1970; 0 while there is none.",
	}, cred.notAfter), cred.reloads, guard.refusals)
	return m
}
