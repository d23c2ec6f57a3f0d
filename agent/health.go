package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"koguma/envoy"
	"koguma/mistake"
	"koguma/xds"
)

// listenReadiness opens the readiness port: the one that was asked for, or the usual one, or any.
func (a *Agent) listenReadiness() (net.Listener, error) {
	ports := []int{a.cfg.ReadinessPort}
	if a.cfg.ReadinessPort == 0 {
		ports = []int{DefaultReadinessPort, 0}
	}
	var err error
	for _, port := range ports {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, readinessPortTaken(fmt.Errorf("readiness port: %w; choose another with KUMA_READINESS_PORT", err), a.cfg.ReadinessPort)
}

// serveReadiness answers /ready, /identity and /metrics until ctx ends.
func (a *Agent) serveReadiness(ctx context.Context, l net.Listener, admin envoy.Admin) error {
	a.cfg.Log.Info("readiness", "url", "http://"+l.Addr().String()+"/ready")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := a.ready(r.Context(), admin); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, mistake.Line(refusedByEnvoy(err)))
		} else {
			fmt.Fprintln(w, "READY")
		}
		for _, line := range a.remarks(time.Now()) {
			fmt.Fprintln(w, line)
		}
	})
	mux.HandleFunc("GET /identity", a.serveIdentity)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("readiness: %w", err)
	}
	return nil
}

// ready says why the proxy is not ready to take traffic; nil if it is.
//
// A control plane that is away makes no difference: Envoy goes on with what it has. Nor does an update that Envoy
// refused, once it has taken a first one.
func (a *Agent) ready(ctx context.Context, admin envoy.Admin) error {
	if a.leaving.Load() {
		return errors.New("TERMINATING")
	}
	if err := a.state.ready(); err != nil {
		return fmt.Errorf("NOT_READY: %w", err)
	}
	if end := a.identity.notAfter(a.state.wanted()); !end.IsZero() && !time.Now().Before(end) {
		return fmt.Errorf("NOT_READY: the certificate expired at %s", end.UTC().Format(time.RFC3339))
	}
	const started, warming = "listener_manager.workers_started", "listener_manager.total_listeners_warming"
	stats, err := admin.Stats(ctx, `^listener_manager\.(workers_started|total_listeners_warming)$`)
	switch {
	case err != nil:
		return fmt.Errorf("NOT_READY: %w", err)
	case stats[started] != 1:
		return errors.New("NOT_READY: envoy has not started its workers")
	case stats[warming] != 0:
		return fmt.Errorf("NOT_READY: %d listeners of envoy are waiting for what they need", stats[warming])
	}
	return nil
}

// ready says what Envoy has not taken yet; nil if there is nothing.
func (s *state) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.snapshot == nil:
		return errors.New("no configuration from the control plane yet")
	case s.session == nil:
		return errors.New("envoy is not connected")
	}
	for _, typ := range typeOrder {
		k := s.kinds[typ]
		if k.took != "" || !full(typ) && (!k.asked || len(k.names) == 0) {
			continue
		}
		if k.refusal != "" {
			return fmt.Errorf("envoy refused its first %s: %s", short(typ), k.refusal)
		}
		return fmt.Errorf("envoy has taken no %s yet", short(typ))
	}
	for _, name := range s.kinds[xds.TypeSecret].names {
		if s.kinds[xds.TypeSecret].offered.Get(name) == nil {
			return fmt.Errorf("envoy waits for the secret %q", name)
		}
	}
	return nil
}

// remarks are what /ready says of responses that the agent did not take over.
func (s *state) remarks() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, typ := range typeOrder {
		if why := s.kinds[typ].unfit; why != "" {
			lines = append(lines, fmt.Sprintf("a %s of the control plane is refused, the last good one stays: %s", short(typ), why))
		}
	}
	return lines
}
