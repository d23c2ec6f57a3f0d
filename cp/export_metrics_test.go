package cp

import (
	"net/http/httptest"
)

// MetricsText is what /metrics shows of proxies and what they are sent.
func (c *Core) MetricsText() string {
	c.reconciler.metrics.registry.MustRegister(laggards{c.reconciler})
	w := httptest.NewRecorder()
	c.reconciler.metrics.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	c.reconciler.metrics.registry.Unregister(laggards{c.reconciler})
	return w.Body.String()
}
