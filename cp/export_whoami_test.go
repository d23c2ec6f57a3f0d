package cp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"koguma/policy"
)

// Overdue is how many proxies should have another certificate by now.
func (c *Core) Overdue() int { return c.reconciler.overdue(time.Now()) }

// Identity is who a proxy is.
func (c *Core) Identity(key policy.Key) policy.ProxyIdentity { return c.reconciler.Identity(key) }

// Gatherer has what /metrics tells.
func (c *Core) Gatherer() prometheus.Gatherer { return c.reconciler.metrics.registry }
