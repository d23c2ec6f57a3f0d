package envoy_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"koguma/envoy"
)

// An Envoy that is killed is back soon; when the context is done, it is gone and Run returns nil.
func TestSupervisorRestarts(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, started, result := supervise(t, ctx, cfg)
	first := <-started
	ready(t, cfg.AdminSocket)
	if s.Current() != first.p {
		t.Error("Current is not the Envoy that runs")
	}
	if err := unix.Kill(first.p.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := <-started
	if second.p.PID() == first.p.PID() || s.Current() != second.p {
		t.Errorf("not another Envoy: %d", second.p.PID())
	}
	ready(t, cfg.AdminSocket)
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if runs(second.p.PID()) || s.Current() != nil {
		t.Error("an Envoy is left")
	}
	absent(t, cfg)
}

// The pauses double while Envoy dies at once, and Log has the reason.
func TestSupervisorPauses(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Binary = program(t, t.TempDir()+"/envoy", "echo the reason >&2; exit 3")
	deaths := make(deaths, 100)
	cfg.Log = slog.New(deaths)
	ctx, cancel := context.WithCancel(t.Context())
	_, started, result := supervise(t, ctx, cfg)
	before := (<-started).at
	for _, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		death := <-deaths
		if death.in != want || !strings.Contains(death.reason, "exit status 3") || !strings.Contains(death.reason, "the reason") {
			t.Errorf("got %+v, want %v", death, want)
		}
		now := (<-started).at
		if now.Sub(before) < want {
			t.Errorf("started again after %v, want %v", now.Sub(before), want)
		}
		before = now
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	absent(t, cfg)
}

// An Envoy that lasted starts the pauses anew.
func TestSupervisorForgets(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Binary = program(t, t.TempDir()+"/envoy", "sleep 0.05; exit 3")
	deaths := make(deaths, 100)
	cfg.Log = slog.New(deaths)
	s, err := envoy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.SetSettled(50 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Run(ctx) }()
	for range 3 {
		if death := <-deaths; death.in != 100*time.Millisecond {
			t.Errorf("pause of %v", death.in)
		}
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A context that ends while there is no Envoy ends Run at once.
func TestSupervisorEndsInAPause(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Binary = program(t, t.TempDir()+"/envoy", "exit 0")
	ctx, cancel := context.WithCancel(t.Context())
	s, started, result := supervise(t, ctx, cfg)
	for range 6 { // the pause after the sixth is 3.2 s
		<-started
	}
	eventually(t, "in a pause", func() bool { return s.Current() == nil })
	before := time.Now()
	cancel()
	if err := <-result; err != nil || time.Since(before) > 2*time.Second {
		t.Errorf("got %v after %v", err, time.Since(before))
	}
}

// With ExitWithEnvoy its end is the end, and an exit code of 0 is no excuse.
func TestSupervisorExitsWithEnvoy(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]int{"exit 3": 3, "exit 0": 0} {
		cfg := config(t)
		cfg.Binary = program(t, t.TempDir()+"/envoy", text)
		cfg.ExitWithEnvoy = true
		_, _, result := supervise(t, t.Context(), cfg)
		var ended *envoy.ExitError
		if err := <-result; !errors.As(err, &ended) || ended.State.ExitCode() != code {
			t.Errorf("%s: got %v", text, err)
		}
		absent(t, cfg)
	}
}

// What can never work is said at once.
func TestSupervisorFirstStart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Binary = "/nonexistent"
	_, _, result := supervise(t, t.Context(), cfg)
	if err := <-result; err == nil {
		t.Error("no error")
	}
	cfg.Binary = ""
	if _, err := envoy.New(cfg); err == nil {
		t.Error("New took a Config without a binary")
	}
}

// launch is one start of an Envoy.
type launch struct {
	p  *envoy.Process
	at time.Time
}

// death is what a Supervisor logs.
type death struct {
	in     time.Duration
	reason string
}

// deaths is a handler that passes on what a Supervisor logs.
type deaths chan death

func (d deaths) Enabled(context.Context, slog.Level) bool { return true }
func (d deaths) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d deaths) WithGroup(string) slog.Handler            { return d }

func (d deaths) Handle(_ context.Context, r slog.Record) error {
	var got death
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "in":
			got.in = a.Value.Duration()
		case "reason":
			got.reason = a.Value.String()
		}
		return true
	})
	d <- got
	return nil
}

// supervise runs a Supervisor; the channels have each start, and what Run returned.
func supervise(t *testing.T, ctx context.Context, cfg envoy.Config) (*envoy.Supervisor, <-chan launch, <-chan error) {
	t.Helper()
	started := make(chan launch, 100)
	cfg.OnStart = func(p *envoy.Process) { started <- launch{p, time.Now()} }
	s, err := envoy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	return s, started, result
}
