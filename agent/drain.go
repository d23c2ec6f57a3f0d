package agent

import (
	"context"
	"strings"
	"time"

	"koguma/envoy"
)

const (
	drainPoll = 100 * time.Millisecond
	// quiet is how long there must be no connection: who has not heard yet that this proxy is going may still come.
	quiet = 500 * time.Millisecond
)

// drain says good-bye: to those who ask for the readiness, to the control plane, which tells all others, and to those
// who are connected. It returns when nobody is any more, when the drain time is over, or when somebody is in a hurry.
func (a *Agent) drain(ctx context.Context, admin envoy.Admin) {
	a.cfg.Log.Info("draining", "for at most", a.cfg.DrainTime)
	a.leaving.Store(true)
	close(a.leave)
	ctx, cancel := context.WithTimeout(ctx, a.cfg.DrainTime)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-a.hurry:
			cancel()
		case <-stop:
		}
	}()
	if admin.FailHealthcheck(ctx) != nil || admin.DrainListeners(ctx) != nil {
		return // no Envoy, or nothing to wait for any more
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for since := time.Now(); time.Since(since) < quiet; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, err := connections(ctx, admin)
		if err != nil {
			return
		}
		if n > 0 {
			since = time.Now()
		}
	}
}

// connections is how many connections Envoy has taken that are still open, its admin socket's aside.
func connections(ctx context.Context, admin envoy.Admin) (uint64, error) {
	stats, err := admin.Stats(ctx, `^listener\..*\.downstream_cx_active$`)
	var n uint64
	for name, v := range stats {
		if !strings.Contains(name, ".worker_") && !strings.HasPrefix(name, "listener.admin.") {
			n += v
		}
	}
	return n, err
}
