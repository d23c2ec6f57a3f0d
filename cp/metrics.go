package cp

import (
	"crypto/x509"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"koguma/policy"
)

// metrics is what /metrics tells of one control plane.
type metrics struct {
	registry     *prometheus.Registry
	sessions     prometheus.Gauge
	refusals     *prometheus.CounterVec
	strangers    prometheus.Counter
	closed       *prometheus.CounterVec
	tokens       prometheus.Counter
	reloads      *prometheus.CounterVec
	tlsReloads   *prometheus.CounterVec
	certificates prometheus.Counter
	uncertified  prometheus.Counter
	rejections   prometheus.Counter
	stages       *prometheus.GaugeVec
	blockers     *prometheus.GaugeVec
	peers        *prometheus.GaugeVec
	deliveries   *deliveries
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "koguma_sessions", Help: "Proxies that are connected.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "koguma_refusals_total", Help: "Streams and bootstraps that were refused, by the check that failed.",
		}, []string{"check"}),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "koguma_api_refusals_total", Help: "Calls of the API for administrators that were refused to others.",
		}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "koguma_sessions_closed_total", Help: "Streams of proxies that have ended, by the reason.",
		}, []string{"reason"}),
		tokens: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "koguma_tokens_issued_total", Help: "Data plane tokens that were issued.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "koguma_public_key_reloads_total", Help: "Changes of public key files, by whether they were taken up: ok or failed.",
		}, []string{"result"}),
		tlsReloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "koguma_tls_reloads_total", Help: "Changes of certificate files of the API's servers, by server and by whether they were taken up: ok or failed.",
		}, []string{"server", "result"}),
		certificates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "koguma_certificates_issued_total", Help: "Workload certificates that were signed.",
		}),
		uncertified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "koguma_certificates_failed_total", Help: "Attempts to make a workload certificate that failed.",
		}),
		rejections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "koguma_xds_rejections_total", Help: "Configurations that a proxy refused.",
		}),
		stages: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "koguma_ca_rotation_stage", Help: "1 for the stage that the rotation of a mesh's CA is in, 0 for the others.",
		}, []string{"mesh", "stage"}),
		blockers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "koguma_ca_rotation_blockers", Help: "Proxies that the rotation of a mesh's CA waits for.",
		}, []string{"mesh"}),
		peers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "koguma_control_planes", Help: "Other control planes of the store, by whether they are heard or unheard.",
		}, []string{"state"}),
		deliveries: newDeliveries(),
	}
	for _, result := range []string{"ok", "failed"} {
		m.reloads.WithLabelValues(result) // from 0 on, so that the first failure is seen as one
	}
	m.registry.MustRegister(m.sessions, m.refusals, m.strangers, m.closed, m.tokens, m.reloads, m.tlsReloads, m.certificates, m.uncertified, m.rejections, m.stages, m.blockers, m.peers,
		m.deliveries.responses, m.deliveries.taken,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// certificate counts a certificate that was signed.
func (m *metrics) certificate(*x509.Certificate) { m.certificates.Inc() }

// failed counts what went wrong on this side.
func (m *metrics) failed(fault string) {
	if fault == faultIdentity {
		m.uncertified.Inc()
	}
}

// trust shows where the trust of a mesh stands.
func (m *metrics) trust(o *outlook, blockers int) {
	mesh := o.mesh.Name
	m.blockers.WithLabelValues(mesh).Set(float64(blockers))
	for _, stage := range []policy.TrustStage{policy.StageSettled, policy.StageTrustBoth, policy.StageIssue, policy.StageDrop} {
		in := 0.0
		if o.trust != nil && o.trust.Stage == stage {
			in = 1
		}
		m.stages.WithLabelValues(mesh, string(stage)).Set(in)
	}
}

// forgetTrust shows nothing of a mesh that is gone.
func (m *metrics) forgetTrust(mesh string) {
	for _, g := range []*prometheus.GaugeVec{m.stages, m.blockers} {
		g.DeletePartialMatch(prometheus.Labels{"mesh": mesh})
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
