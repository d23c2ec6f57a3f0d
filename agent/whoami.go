package agent

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

// whoami is who this proxy is, as it is now. What counts as taken is what Envoy has said that it took.
func (a *Agent) whoami(now time.Time) policy.ProxyIdentity {
	taken, newest := a.secrets()
	p := policy.ProxyIdentity{
		Mesh: a.cfg.Mesh, Proxy: a.cfg.Name, Seen: policy.SeenByAgent, Token: a.token.inUse(), LastError: a.history.lastError(),
	}
	p.ControlPlane, p.Renewal = a.history.read()
	p.Certificates, p.Roots = xds.Describe(a.cfg.Mesh, taken, newest)
	for i := range p.Certificates {
		p.Certificates[i].KeyOrigin = policy.KeyOfAgent // whose keys are joined with them
	}
	names := a.renewable(now)
	p.Renewal.Next = a.identity.due(names).UTC()
	p.Renewal.Overdue = a.identity.overdue(names, now) != nil
	return p
}

// secrets are those that Envoy has taken, and the newest, as far as they are of any use.
func (a *Agent) secrets() (taken, newest *xds.Set) {
	taken, newest = a.state.secrets()
	names := slices.Concat(a.state.wanted(), a.programs())
	if len(names) > 0 {
		names = append(names, xds.CASecretName(a.cfg.Mesh))
	}
	return keep(taken, names), keep(newest, names)
}

// renewable are the names of the certificates to keep new: those that Envoy asks for, and those of programs beside it.
// These are not kept up beyond their end, for there is no telling whether mTLS is still on.
func (a *Agent) renewable(now time.Time) []string {
	names := a.state.wanted()
	for _, name := range a.programs() {
		if now.Before(a.identity.notAfter([]string{name})) {
			names = append(names[:len(names):len(names)], name)
		}
	}
	return names
}

// programs are the names of the secrets that programs beside Envoy get, which is none without the Workload API.
func (a *Agent) programs() []string {
	if a.cfg.WorkloadAPISocket == "" {
		return nil
	}
	return a.base
}

// serveIdentity answers GET /identity.
func (a *Agent) serveIdentity(w http.ResponseWriter, _ *http.Request) {
	data, err := policy.Encode(a.whoami(time.Now()))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(data)
}

// remarks are what people should know although the proxy is ready, a line each.
func (a *Agent) remarks(now time.Time) []string {
	lines := slices.Concat(a.outage.remarks(), a.token.remarks(now), a.state.remarks())
	if s := a.identity.overdue(a.renewable(now), now); s != nil {
		line := fmt.Sprintf("the certificate %s should have been renewed at %s; it ends at %s", certs.Serial(s.chain[0]), at(s.renew), at(s.notAfter()))
		if e := a.history.lastError(); e != nil {
			line += "; " + e.Reason
		}
		lines = append(lines, line)
	}
	return lines
}

// expiries are the metrics that follow from what the proxy is when somebody looks.
type expiries struct{ agent *Agent }

func rootEnd() *prometheus.Desc {
	return prometheus.NewDesc("kuma_dp_root_not_after_seconds",
		"When a root that the proxy trusts ends, in seconds since 1970, by the beginning of its SHA-256.", []string{"root"}, nil)
}

func addressDesc() *prometheus.Desc {
	return prometheus.NewDesc("kuma_dp_control_plane_address",
		"1 for the address of the control plane that the stream is open to.", []string{"address"}, nil)
}

func overdueDesc() *prometheus.Desc {
	return prometheus.NewDesc("kuma_dp_renewal_overdue",
		"Whether a certificate should have had a successor by now.", nil, nil)
}

func lastErrorDesc() *prometheus.Desc {
	return prometheus.NewDesc("kuma_dp_last_error_timestamp_seconds",
		"When something went wrong last with what the control plane gives, in seconds since 1970; 0 if nothing has.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (x expiries) Describe(ch chan<- *prometheus.Desc) {
	ch <- rootEnd()
	ch <- addressDesc()
	ch <- overdueDesc()
	ch <- lastErrorDesc()
}

// shortFingerprint is how many digits of a fingerprint tell roots apart in a label.
const shortFingerprint = 16

// Collect implements [prometheus.Collector]. The roots are those that Envoy has taken, so that there are few.
func (x expiries) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	who := x.agent.whoami(time.Now())
	seen := map[string]bool{}
	for _, r := range who.Roots {
		if short := r.Fingerprint[:shortFingerprint]; r.Acked && !seen[short] {
			seen[short] = true
			gauge(rootEnd(), float64(r.NotAfter.Unix()), short)
		}
	}
	if link := who.ControlPlane; link.Connected {
		gauge(addressDesc(), 1, link.Address)
	}
	var overdue, last float64
	if who.Renewal.Overdue {
		overdue = 1
	}
	if who.LastError != nil {
		last = float64(who.LastError.Time.Unix())
	}
	gauge(overdueDesc(), overdue)
	gauge(lastErrorDesc(), last)
}
