package cp

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"koguma/policy"
)

// The bounds of a report of plaintext.
const (
	maxReport   = 64 << 10 // bytes
	maxReported = 128      // inbounds
)

// reported takes in what an agent reports, of the inbounds that its Envoy serves as permissive ones. What cannot be read is
// passed over.
func (s *session) reported(n *corev3.Node) {
	text := metadata(n, "dataplane.report")
	if text == "" || len(text) > maxReport {
		return
	}
	var r policy.PlaintextReport
	if err := policy.DecodeOpen([]byte(text), &r); err != nil || len(r.Inbounds) > maxReported {
		s.log.Warn("a report of the proxy that cannot be read", "proxy", s.key.Name, "mesh", s.key.Mesh)
		return
	}
	now := time.Now().UTC()
	var all []policy.InboundMTLS
	for _, c := range r.Inbounds {
		in := policy.InboundMTLS{
			Address: c.Listener, Connections: c.Connections, Requests: c.Requests, ForeignTLS: c.ForeignTLS,
			Since: now.Add(-c.Since.Std()),
		}
		if c.Seen <= c.Since {
			in.LastSeen = now.Add(-c.Seen.Std())
		}
		all = append(all, in)
	}
	s.mu.Lock()
	s.insight.plaintext = all
	s.mu.Unlock()
	if len(all) > 0 {
		s.reconciler.hears(s)
	}
}
