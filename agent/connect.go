package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/mistake"
	"koguma/token"
)

// mostPause bounds the pause between two attempts to connect, which jitter makes half as much longer: when the control plane
// is back after however long, all are connected within 10 seconds. settled is how long a stream must have lived for the
// pauses to be short again. rivalPause is the least pause of an agent whose name another one has taken: two that take it
// from each other do so no faster than that. patience is how long an attempt may go on with a token that has a successor.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 6 * time.Second
	settled    = 30 * time.Second
	rivalPause = 10 * time.Second
	patience   = 5 * time.Second
)

// newBackoff grows from least to most, with jitter, and never ends.
func newBackoff(least, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(least), backoff.WithMaxInterval(most),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.5), backoff.WithMaxElapsedTime(0))
}

// link keeps a stream to a control plane open, with the newest token. It belongs to one goroutine.
//
// When the stream has ended the next control plane is tried, and so on; a pause comes when all have failed. Only the end of the
// stream is a reason to move.
//
// With another token a second stream is opened, and takes the place of the first one when the control plane has answered
// on it. For as long as it does not, the first one stays.
type link struct {
	agent   *Agent
	began   time.Time
	known   bool // the control plane has let the proxy in
	token   token.Held
	changed <-chan struct{} // closed when there is a newer token

	stream *upstream // nil while there is none
	ended  chan error
	last   token.Held // that a stream was opened with
	round  round
	at     string // the control plane that has let the proxy in last, host and port

	attempt context.CancelFunc // ends the attempt that is going on; nil while none is
	overdue *time.Timer        // does so when its token has had a successor for too long
	tried   chan attempted

	pause  *backoff.ExponentialBackOff
	next   time.Time // no attempt before this
	reason string    // that was logged last
}

// attempted is what has come of an attempt to open a stream.
type attempted struct {
	stream *upstream
	cp     *controlPlane
	token  token.Held
	err    error
}

// stayConnected keeps a stream to the control plane open until the agent leaves or ctx ends.
//
// Until the proxy has been let in for the first time, a refusal is final: somebody made a mistake and is waiting to hear
// of it. Afterwards nothing is: Envoy goes on with what it has, and an operator may set right what is wrong.
func (a *Agent) stayConnected(ctx context.Context) error {
	l := &link{
		agent: a, began: time.Now(), ended: make(chan error, 1), tried: make(chan attempted, 1),
		pause: newBackoff(leastPause, min(a.cfg.RetryBackoff, mostPause)), round: round{all: a.planes},
	}
	l.token, l.changed = a.token.source.Current()
	defer l.close()
	for {
		wake, err := l.advance(ctx)
		if err != nil {
			return err
		}
		select {
		case <-wake:
		case <-l.changed:
			l.renew()
		case r := <-l.tried:
			err = l.settle(r)
		case err := <-l.ended:
			l.lost(err)
		case <-a.leave:
			l.leave(ctx)
			return nil
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// advance begins an attempt if it is time for one, and else says when to look again.
func (l *link) advance(ctx context.Context) (wake <-chan time.Time, err error) {
	now := time.Now()
	switch {
	case l.attempt != nil, l.agent.leaving.Load(), l.stream != nil && l.stream.token.Raw == l.token.Raw:
		return nil, nil
	case expired(l.token, now):
		source := l.agent.token.source
		err := fmt.Errorf("the token expired at %s; %s", at(l.token.Claims.ExpiresAt), source.Remedy())
		return time.After(mostPause), l.explain(mistake.New(mistake.TokenExpired, err, source.Commands()...))
	case now.Before(l.next):
		return time.After(l.next.Sub(now)), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	l.attempt = cancel
	cp, held := l.round.next(), l.token
	go func() {
		stream, err := l.agent.begin(ctx, cancel, cp, held)
		l.tried <- attempted{stream, cp, held, err}
	}()
	return nil, nil
}

// renew sees to it that the newest token is used, at once, and where the stream is if there is one.
func (l *link) renew() {
	l.token, l.changed = l.agent.token.source.Current()
	cp := l.round.next()
	if l.stream != nil {
		cp = l.stream.cp
	}
	l.round.begin(cp)
	l.pause.Reset()
	l.next = time.Time{}
	if l.attempt != nil && l.overdue == nil {
		// It is let go on for a moment: the control plane may have given it the place of the stream.
		l.overdue = time.AfterFunc(patience, l.attempt)
	}
}

// settle ends an attempt: with a stream that takes the place of the one there was, or with a pause before the next one.
// An error is final.
func (l *link) settle(r attempted) error {
	l.attempt = nil // what it would end is the stream's now
	if l.overdue != nil {
		l.overdue.Stop()
		l.overdue = nil
	}
	if r.err == nil {
		l.replace(r.stream)
		return nil
	}
	if l.stream == nil {
		l.agent.parted()
	}
	if l.agent.leaving.Load() || r.token.Raw != l.token.Raw { // with a newer token it no longer matters
		return nil
	}
	return l.fail(r.cp, r.err, 0)
}

// fail notes that a control plane has not let the proxy in with the newest token, or has let go of it. The next one is tried
// soon, or if the round is over, after a pause. An error is final.
func (l *link) fail(cp *controlPlane, err error, soon time.Duration) error {
	if l.round.fail(cp, err) {
		l.next = time.Now().Add(soon)
		if reason := explain(l.round.err()); l.stream == nil && l.reason == "" { // else there is that of a whole round
			l.agent.history.wrong(reason)
			l.agent.outage.begin(reason, time.Now())
		}
		return nil
	}
	if err = l.round.err(); refusal(err) {
		l.agent.token.refuse(l.token, explain(err))
	}
	l.next = time.Now().Add(l.rest())
	return l.explain(err)
}

// replace puts a stream that the control plane has let in into the place of the one there was.
func (l *link) replace(u *upstream) {
	if !l.known {
		l.known, l.pause = true, newBackoff(leastPause, mostPause)
	}
	if old := l.stream; old != nil {
		old.close()
		<-l.ended // most often that a newer stream has taken over, which is this one
	}
	l.agent.state.disconnected()
	l.agent.accepted(u)
	l.moved(u.cp.address.Host)
	u.former, l.last = l.last, u.token
	l.stream, l.reason = u, ""
	go func() { l.ended <- u.run() }()
}

// moved says so if the control plane that has let the proxy in is not the one before, or the first that was asked.
func (l *link) moved(to string) {
	from := l.at
	if from == "" && len(l.round.failed) > 0 {
		from = l.round.failed[0].address
	}
	l.at = to
	if from == "" || from == to {
		return
	}
	l.agent.history.moves.Inc()
	l.agent.cfg.Log.Info("moved to another control plane", "from", from, "to", to, "because", explain(l.round.err()))
}

// lost notes that the stream has ended by itself.
func (l *link) lost(err error) {
	u := l.stream
	err = l.agent.mistaken(u.cp, u.token, err)
	u.close()
	l.stream, l.reason = nil, ""
	l.agent.state.disconnected()
	if superseded(err) && l.attempt != nil {
		return // by the stream that is being opened
	}
	l.agent.parted()
	if l.agent.leaving.Load() {
		return
	}
	if time.Since(u.letIn) > settled {
		l.pause.Reset()
		l.round.begin(u.cp)
	}
	if expired(u.token, time.Now()) {
		return // which is no refusal, and the agent says so itself
	}
	// It was let in, so that nothing is final.
	switch {
	case u.token.Raw == l.token.Raw:
		_ = l.fail(u.cp, err, rand.N(spread))
	case refusal(err):
		l.agent.token.refuse(u.token, explain(err))
		fallthrough
	default: // the attempts with the newer one go on as they did
		_ = l.explain(err)
	}
	if rest := time.Now().Add(rivalPause); superseded(err) && l.next.Before(rest) {
		l.next = rest
	}
}

// rest is how long to wait before the next attempt.
func (l *link) rest() time.Duration {
	now := time.Now()
	return hurry(l.pause.NextBackOff(), l.agent.identity.notAfter(l.agent.renewable(now)).Sub(now))
}

// hurry is a pause that leaves time for ten attempts in what is left of a certificate, though there is a second, with
// jitter, between two: a control plane that comes back just before the certificate ends is to be found in time.
func hurry(pause, left time.Duration) time.Duration {
	if left <= 0 { // there is none, or it is too late
		return pause
	}
	most := max(time.Second, left/10)
	return min(pause, most/2+rand.N(most))
}

// explain says why there is no stream with the newest token, once for each reason. The error is that to end with when
// the proxy has never been let in and it is not worth another attempt.
func (l *link) explain(err error) error {
	if !l.known {
		if err := l.agent.give(err, time.Since(l.began)); err != nil {
			return err
		}
	}
	reason := explain(err)
	if now := time.Now(); l.stream == nil && !expired(l.token, now) { // of which there is another remark
		l.agent.outage.begin(reason, now)
	}
	if reason == l.reason {
		return nil
	}
	l.reason = reason
	l.agent.history.wrong(reason)
	log := l.agent.cfg.Log.With(mistake.Attrs(err)...)
	switch {
	case l.stream != nil:
		log.Warn("no stream with the new token; going on with the one before", "reason", reason,
			"jti", l.token.Claims.ID, "before", l.stream.token.Claims.ID)
	case expired(l.token, time.Now()):
		log.Warn("not connected to the control plane; waiting for another token", "reason", reason, "jti", l.token.Claims.ID)
	default:
		log.Warn("not connected to the control plane; trying again", "reason", reason)
	}
	return nil
}

// leave lets the stream say goodbye. One that is just being opened may have its place already, so that it gets the time
// that a goodbye may take.
func (l *link) leave(ctx context.Context) {
	if l.attempt != nil {
		select {
		case r := <-l.tried:
			_ = l.settle(r)
		case <-time.After(parting):
		case <-ctx.Done():
		}
	}
	if l.stream != nil {
		<-l.ended // it sees by itself that the agent leaves
		l.stream.close()
		l.stream = nil
	}
}

// close ends whatever goes on.
func (l *link) close() {
	if l.overdue != nil {
		l.overdue.Stop()
	}
	if l.attempt != nil {
		l.attempt()
		if r := <-l.tried; r.stream != nil {
			r.stream.close()
		}
	}
	if l.stream != nil {
		l.stream.close()
		<-l.ended
	}
	l.agent.state.disconnected()
	l.agent.parted()
}

// give is the error to end with when the proxy has never been let in, nil while it is worth another attempt.
func (a *Agent) give(err error, waited time.Duration) error {
	if refusal(err) {
		reason := explain(err)
		if _, known := mistake.Of(err); !known { // a control plane that says no more than this
			if held, _ := a.token.source.Current(); held.Raw == "" && status.Code(err) == codes.Unauthenticated {
				reason += "; " + a.token.source.Remedy()
				err = mistake.New(mistake.TokenMissing, err, a.token.source.Commands()...)
			}
		}
		return mistake.Say(err, "the control plane refused this proxy: "+reason)
	}
	if waited >= a.cfg.RetryMax {
		return mistake.Say(err, fmt.Sprintf("gave up after %v: %s", a.cfg.RetryMax, explain(err)))
	}
	return nil
}

// accepted notes that the control plane has let the proxy in.
func (a *Agent) accepted(u *upstream) {
	a.metrics.connected.Set(1)
	a.outage.end()
	a.history.connected(u.server)
	a.token.admit(u.token)
	fields := []any{"address", u.server}
	if c := u.token.Claims; u.token.Raw != "" {
		fields = append(fields, "jti", c.ID, "token expires", at(c.ExpiresAt))
	}
	a.cfg.Log.Info("connected to the control plane", fields...)
}

// parted notes that there is no stream to the control plane.
func (a *Agent) parted() {
	a.metrics.connected.Set(0)
	a.history.disconnected()
}

// explain is an error as one line for people: without the words of the transport, and with nothing in it that a terminal
// would obey.
func explain(err error) string {
	if s, ok := status.FromError(err); ok {
		err = errors.New(s.Message())
	}
	return printable(err.Error())
}

// printable is a text without anything that a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
