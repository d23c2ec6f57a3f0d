package agent

import (
	"context"
	"time"

	"koguma/envoy"
)

// announcePoll is how often it is looked whether the proxy is ready, until it is for the first time.
const announcePoll = 100 * time.Millisecond

// announce calls OnReady once, as soon as the proxy is ready. It ends then, or with ctx.
func (a *Agent) announce(ctx context.Context, admin envoy.Admin) {
	if a.cfg.OnReady == nil {
		return
	}
	tick := time.NewTicker(announcePoll)
	defer tick.Stop()
	for a.ready(ctx, admin) != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	a.cfg.OnReady()
}
