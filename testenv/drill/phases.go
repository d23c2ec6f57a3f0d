package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"koguma/testenv"
)

// rotations is how often a token is replaced, on all instances of web together.
const rotations = 100

// quiet is how long it is watched that nothing happens.
const quiet = 3 * time.Second

// send has all of them send, until the drill ends.
func (d *drill) send(ctx context.Context) (string, error) {
	d.begun = time.Now()
	senders := d.senders()
	for _, p := range senders {
		p.send(context.WithoutCancel(ctx)) // it outlives this step
	}
	n := len(senders)
	return fmt.Sprintf("%d requests a second: %d over HTTP connections that stay, %d over new ones, %d over new TCP ones; %d long TCP connections",
		n*(httpRate+echoRate), n*httpRate/2, n*httpRate/2, n*echoRate, n*streams), nil
}

// rest is what the other phases are to be compared with.
func (d *drill) rest(ctx context.Context) (string, error) {
	if err := pause(ctx, quiet); err != nil {
		return "", err
	}
	return d.close("nothing changes", nil), nil
}

// rotateTokens gives the instances of web new tokens, each as soon as the one before is in use, side by side.
func (d *drill) rotateTokens(ctx context.Context) (string, error) {
	took := make([]time.Duration, rotations)
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range d.webs {
		g.Go(func() (err error) {
			for n := i; n < rotations && err == nil; n += len(d.webs) {
				_, took[n], err = d.replace(ctx, p, longLife)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	slices.Sort(took)
	seen := d.close(fmt.Sprint(rotations, " token rotations"), map[event]time.Duration{tokenUsed: took[len(took)-1]})
	return fmt.Sprintf("in use after %.2f s in the median; %s", took[len(took)/2].Seconds(), seen), nil
}

// rotateSigningKey does it the way an operator does: a second key, new tokens for all, and away with the first.
func (d *drill) rotateSigningKey(ctx context.Context) (string, error) {
	out, err := d.cp.Kumactl(ctx, "rotate", "signing-key", "--mesh=default")
	if err == nil {
		return "", fmt.Errorf("the first key is gone, and all live on it:\n%s", out)
	}
	var slowest time.Duration
	for _, p := range d.all() {
		_, took, err := d.replace(ctx, p, longLife)
		if err != nil {
			return "", err
		}
		slowest = max(slowest, took)
	}
	if _, err := d.cp.Kumactl(ctx, "rotate", "signing-key", "--mesh=default"); err != nil {
		return "", err
	}
	if err := pause(ctx, time.Second); err != nil { // whoever is to lose its stream by it has lost it then
		return "", err
	}
	keys, err := d.cp.Kumactl(ctx, "get", "secrets", "--mesh=default")
	if err != nil {
		return "", err
	}
	if n := strings.Count(keys, "dataplane-token-signing-key"); n != 1 {
		return "", fmt.Errorf("there are %d signing keys, not one:\n%s", n, keys)
	}
	used, err := d.used(ctx)
	if err != nil {
		return "", err
	}
	if len(used) != len(d.all()) {
		return "", fmt.Errorf("%d proxies have a stream, not %d", len(used), len(d.all()))
	}
	return d.close("signing key rotation", map[event]time.Duration{tokenUsed: slowest}), nil
}

// revoke takes web-2 out of the mesh, and nobody else.
func (d *drill) revoke(ctx context.Context) (string, error) {
	p := d.webs[1]
	begin := time.Now()
	p.withdrawn = begin
	if _, err := d.cp.Kumactl(ctx, "revoke", "dataplane-token", "--token-file="+d.tokenFile(p)); err != nil {
		return "", err
	}
	lost, err := p.awaitCut(ctx)
	if err != nil {
		return "", err
	}
	if err := pause(ctx, time.Until(begin.Add(drain+2*time.Second))); err != nil {
		return "", err
	}
	refused, closed := p.out(begin)
	p.hush()
	return d.close("web-2's token revoked", map[event]time.Duration{
		streamClosed: lost.Sub(begin), newRefused: refused, openClosed: closed}), nil
}

// expire lets api's token end. Its certificate ends with it, and is asked for whenever a connection is opened.
func (d *drill) expire(ctx context.Context) (string, error) {
	claims, _, err := d.replace(ctx, d.api, 8*time.Second)
	if err != nil {
		return "", err
	}
	lost, err := d.api.awaitCut(ctx)
	if err != nil {
		return "", err
	}
	end := claims.ExpiresAt
	if lost.Before(end) {
		return "", fmt.Errorf("api's stream was closed %v before its token's end", end.Sub(lost))
	}
	if err := pause(ctx, time.Until(end.Add(2*time.Second))); err != nil {
		return "", err
	}
	d.api.withdrawn = end
	refused, _ := d.api.out(end)
	return d.close("api's token expires", map[event]time.Duration{streamClosed: lost.Sub(end), newRefused: refused}), nil
}

// comeBack lets api in again.
func (d *drill) comeBack(ctx context.Context) (string, error) {
	begin := time.Now()
	_, took, err := d.replace(ctx, d.api, longLife)
	if err != nil {
		return "", err
	}
	if err := d.api.awaitWay(ctx); err != nil {
		return "", err
	}
	back := time.Since(begin)
	seen := d.close("api gets a new one", map[event]time.Duration{tokenUsed: took})
	return fmt.Sprintf("reaches backend after %.2f s; %s", back.Seconds(), seen), nil
}

// out is how long after the moment it was until no new connection of the proxy was let in, and until nothing that it had
// open was of any use. HTTP counts as open: its Envoy has connections from before.
func (p *proxy) out(begin time.Time) (refused, closed time.Duration) {
	after := func(end time.Time) time.Duration {
		if end.IsZero() {
			end = time.Now() // it has not come yet
		}
		return max(0, end.Sub(begin))
	}
	refused = after(p.echoes.Calls().LostFrom())
	closed = after(p.requests.Calls().LostFrom())
	for _, s := range p.streams.Spells() {
		refused = max(refused, s.Opened.Sub(begin))
		closed = max(closed, after(s.Closed))
	}
	return refused, closed
}

// awaitCut waits until the agent of a proxy has no stream to the control plane.
func (p *proxy) awaitCut(ctx context.Context) (time.Time, error) {
	err := testenv.Eventually(ctx, p.name+"'s stream to be closed", func() error {
		connected, err := p.agent.Connected(ctx)
		if connected {
			err = errors.New("it is open")
		}
		return err
	})
	return time.Now(), err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
