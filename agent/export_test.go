package agent

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics describes what /metrics shows.
func Metrics() prometheus.Collector {
	m := newMetrics(nil, &credential{reloads: newReloads()}, newRatchet(""))
	h := newHistory()
	m.registry.MustRegister(expiries{}, h.renewals, h.moves)
	return m.registry
}

// Denials is what counts and writes down what Envoy denied.
type Denials struct{ *denials }

// NewDenials writes to log and counts in total.
func NewDenials(log *slog.Logger, total *prometheus.CounterVec) Denials {
	return Denials{newDenials(log, total)}
}

// Add adds a denial that no permission allowed.
func (d Denials) Add(service string) { d.add(denial{service: service, reason: notPermitted}) }

// Run writes lines until ctx ends.
func (d Denials) Run(ctx context.Context) { d.run(ctx) }

// Hurry is hurry.
var Hurry = hurry
