package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mostPause bounds the pause between two attempts to connect, and settled is how long a stream must have lived for the
// pauses to be short again. rivalPause is the least pause of an agent whose name another one has taken: two that take it
// from each other do so no faster than that.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
	settled    = 30 * time.Second
	rivalPause = 10 * time.Second
)

// newBackoff grows from least to most, with jitter, and never ends.
func newBackoff(least, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(least), backoff.WithMaxInterval(most),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.5), backoff.WithMaxElapsedTime(0))
}

// stayConnected keeps a stream to the control plane open until the agent leaves or ctx ends.
//
// Until the proxy has been let in for the first time, a refusal is final: somebody made a mistake and is waiting to hear
// of it. Afterwards nothing is: Envoy goes on with what it has, and an operator may set right what is wrong.
func (a *Agent) stayConnected(ctx context.Context) error {
	began, known := time.Now(), false
	pause := newBackoff(leastPause, min(a.cfg.RetryBackoff, mostPause))
	reason := ""
	for {
		lived, err := a.open(ctx)
		if a.leaving.Load() || ctx.Err() != nil {
			return nil
		}
		if lived > 0 && !known {
			known, pause = true, newBackoff(leastPause, mostPause)
		}
		if lived > settled {
			pause.Reset()
		}
		if !known {
			if err := a.give(err, time.Since(began)); err != nil {
				return err
			}
		}
		if r := explain(err); r != reason || lived > 0 {
			reason = r
			a.cfg.Log.Warn("not connected to the control plane; trying again", "reason", reason)
		}
		next := pause.NextBackOff()
		if status.Code(err) == codes.AlreadyExists {
			next = max(next, rivalPause)
		}
		select {
		case <-time.After(next):
		case <-a.leave:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// give is the error to end with when the proxy has never been let in, nil while it is worth another attempt.
func (a *Agent) give(err error, waited time.Duration) error {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument:
		return errors.New("the control plane refused this proxy: " + explain(err))
	}
	if waited >= a.cfg.RetryMax {
		return fmt.Errorf("gave up after %v: %s", a.cfg.RetryMax, explain(err))
	}
	return nil
}

// accepted notes that the control plane answers.
func (a *Agent) accepted(server string) {
	a.metrics.connected.Set(1)
	a.cfg.Log.Info("connected to the control plane", "address", server)
}

// explain is an error as one line for people: without the words of the transport, and with nothing in it that a terminal
// would obey.
func explain(err error) string {
	if s, ok := status.FromError(err); ok {
		err = errors.New(s.Message())
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, err.Error())
}
