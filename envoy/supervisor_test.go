package envoy_test

import (
	"bytes"
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

// The pauses double while Envoy dies at once, are short again after one that lasted, and Log has the reason.
func TestSupervisorPauses(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg := config(t)
	cfg.Binary = program(t, t.TempDir()+"/envoy", "echo the reason >&2; exit 3")
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	_, started, result := supervise(t, ctx, cfg)
	last := (<-started).at
	for _, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		now := (<-started).at
		if got := now.Sub(last); got < want || got > want+300*time.Millisecond {
			t.Errorf("pause of %v, want %v", got, want)
		}
		last = now
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "exit status 3") || !strings.Contains(log.String(), "the reason") {
		t.Errorf("log: %s", log.String())
	}
	absent(t, cfg)
}

// An Envoy that lasted starts the pauses anew.
func TestSupervisorForgets(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Binary = program(t, t.TempDir()+"/envoy", "sleep 0.1; exit 3")
	started := make(chan time.Time, 100)
	cfg.OnStart = func(*envoy.Process) { started <- time.Now() }
	s, err := envoy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.SetSettled(50 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Run(ctx) }()
	last := <-started
	for range 4 {
		now := <-started
		if got := now.Sub(last); got > 500*time.Millisecond { // the fourth would be 900 ms
			t.Errorf("pause of %v", got)
		}
		last = now
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
	for range 4 {
		<-started
	}
	eventually(t, "in a pause", func() bool { return s.Current() == nil })
	before := time.Now()
	cancel()
	if err := <-result; err != nil || time.Since(before) > 500*time.Millisecond {
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
