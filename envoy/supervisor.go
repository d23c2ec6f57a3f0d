package envoy

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// How long a [Supervisor] waits before it starts Envoy again: at first the least, doubling to the most, and the least
// again once an Envoy has run for as long as the most.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Supervisor keeps an Envoy running.
type Supervisor struct {
	cfg     Config
	settled time.Duration // how long an Envoy must run for the pauses to be short again
	current atomic.Pointer[Process]
}

// New makes a Supervisor. It starts nothing.
func New(cfg Config) (*Supervisor, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{cfg: cfg, settled: mostPause}, nil
}

// Run starts Envoy, and starts it again whenever it ends by itself. It returns, and no Envoy runs then:
//   - nil, when ctx is done, after it stopped Envoy;
//   - the error of [Start], when the first Envoy could not be started; later ones are tried again;
//   - with ExitWithEnvoy, the *[ExitError] of an Envoy that ended by itself.
//
// It is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(leastPause),
		backoff.WithMaxInterval(mostPause),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // nobody else is in step with this Envoy
		backoff.WithMaxElapsedTime(0),
	)
	for first := true; ; first = false {
		began := time.Now()
		p, err := Start(s.cfg)
		if err != nil && first {
			return err
		}
		if err == nil {
			err = s.watch(ctx, p)
		}
		if ctx.Err() != nil {
			return nil
		}
		if s.cfg.ExitWithEnvoy {
			return err
		}
		if time.Since(began) >= s.settled {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		s.cfg.Log.Error("Envoy is gone, and will be started again", "in", wait, "reason", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// watch waits for the end of p, which it brings about when ctx is done, and says what it ended of.
func (s *Supervisor) watch(ctx context.Context, p *Process) error {
	s.current.Store(p)
	defer s.current.Store(nil)
	if s.cfg.OnStart != nil {
		s.cfg.OnStart(p)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(s.cfg.Grace)
	}
	return p.Err()
}

// Current is the Envoy that runs now; nil when none does.
func (s *Supervisor) Current() *Process { return s.current.Load() }
