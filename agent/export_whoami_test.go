package agent

import (
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/prometheus/client_golang/prometheus"

	"koguma/xds"
)

// Request is the request for a certificate that the control plane would get, in PEM. There is a new key if one is due.
func (a *Agent) Request() ([]byte, error) {
	if err := a.identity.renew(a.renewable(time.Now()), time.Now()); err != nil {
		return nil, err
	}
	return a.identity.request()
}

// Give is what happens when these secrets come from the control plane to an agent that does not run, and an Envoy takes
// them.
func (a *Agent) Give(secrets ...*tlsv3.Secret) error {
	resources, _, err := a.identity.join(secrets, time.Now())
	if err != nil {
		return err
	}
	n := &session{state: a.state, history: a.history, end: func(error) {}, sent: map[string]*xds.Set{}}
	a.state.attach(n, nil)
	a.state.receive(xds.TypeSecret, "", "", resources, nil)
	set := a.state.kinds[xds.TypeSecret].newest
	a.state.observe(n, xds.Event{Kind: xds.Subscribed, Type: xds.TypeSecret, Names: a.base}, nil)
	a.state.observe(n, xds.Event{Kind: xds.Acked, Type: xds.TypeSecret, Version: set.Version()}, set)
	return nil
}

// Remarks are what /ready says below READY.
func (a *Agent) Remarks() []string { return a.remarks(time.Now()) }

// Gatherer has what /metrics shows.
func (a *Agent) Gatherer() prometheus.Gatherer { return a.metrics.registry }

// MostStreams is mostStreams.
const MostStreams = mostStreams
