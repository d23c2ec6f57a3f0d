package agent

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/policy"
)

// history is what has happened to this proxy's identity, for people who ask.
type history struct {
	renewals *prometheus.CounterVec // by result
	moves    prometheus.Counter     // to another control plane

	mu      sync.Mutex
	link    policy.ControlPlaneLink
	renewal policy.Renewal // without what follows from the certificates
	fault   policy.IdentityError
}

func newHistory() *history {
	h := &history{renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kuma_dp_renewals_total",
		Help: "New certificates that came (ok), the first ones too, and attempts that brought none (failed).",
	}, []string{"result"}), moves: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kuma_dp_control_plane_moves_total",
		Help: "How often another control plane took the place of one that was gone or did not let the proxy in.",
	})}
	for _, result := range []string{policy.RenewalOK, policy.RenewalFailed} {
		h.renewals.WithLabelValues(result)
	}
	return h
}

// connected notes that the control plane at an address has let the proxy in.
func (h *history) connected(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.link = policy.ControlPlaneLink{Connected: true, Address: address, Since: time.Now().UTC()}
}

// disconnected notes that there is no stream any more.
func (h *history) disconnected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.link.Connected {
		h.link.Connected, h.link.Until = false, time.Now().UTC()
	}
}

// renewed notes that there is a new certificate.
func (h *history) renewed() {
	h.renewals.WithLabelValues(policy.RenewalOK).Inc()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewal = policy.Renewal{Last: time.Now().UTC(), Result: policy.RenewalOK}
}

// failed notes that an attempt has brought no certificate.
func (h *history) failed(reason string) {
	h.renewals.WithLabelValues(policy.RenewalFailed).Inc()
	h.wrong(reason)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewal.Result = policy.RenewalFailed
}

// maxReason is how much is kept of what went wrong, in bytes.
const maxReason = 4 << 10

// wrong notes that something went wrong.
func (h *history) wrong(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = policy.IdentityError{Time: time.Now().UTC(), Reason: printable(reason[:min(len(reason), maxReason)])}
}

// lastError is what went wrong last, nil if nothing has.
func (h *history) lastError() *policy.IdentityError {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault.Time.IsZero() {
		return nil
	}
	fault := h.fault
	return &fault
}

// read is the connection and the renewals.
func (h *history) read() (policy.ControlPlaneLink, policy.Renewal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link, h.renewal
}
