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
	"koguma/testenv/drill"
	"koguma/token"
)

// rotations is how often a token is replaced, on all instances of web together.
const rotations = 100

// quiet is how long it is watched that nothing happens.
const quiet = 3 * time.Second

// rest is what the other phases are to be compared with.
func (d *tokens) rest(ctx context.Context) (string, error) {
	if err := drill.Pause(ctx, quiet); err != nil {
		return "", err
	}
	return d.Close(ctx, "nothing changes", nil)
}

// rotateTokens gives the instances of web new tokens, each as soon as the one before is in use, side by side.
func (d *tokens) rotateTokens(ctx context.Context) (string, error) {
	took := make([]time.Duration, rotations)
	g, each := errgroup.WithContext(ctx)
	for i, p := range d.webs {
		g.Go(func() (err error) {
			for n := i; n < rotations && err == nil; n += len(d.webs) {
				_, took[n], err = d.replace(each, p, drill.LongLife)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	slices.Sort(took)
	seen, err := d.Close(ctx, fmt.Sprint(rotations, " token rotations"), map[drill.Event]time.Duration{tokenUsed: took[len(took)-1]})
	return fmt.Sprintf("in use after %.2f s in the median; %s", took[len(took)/2].Seconds(), seen), err
}

// rotateSigningKey does it the way an operator does: a second key, new tokens for all, and away with the first.
func (d *tokens) rotateSigningKey(ctx context.Context) (string, error) {
	out, err := d.CP.Kumactl(ctx, "rotate", "signing-key", "--mesh=default")
	if err == nil {
		return "", fmt.Errorf("the first key is gone, and all live on it:\n%s", out)
	}
	var slowest time.Duration
	for _, p := range d.Proxies {
		_, took, err := d.replace(ctx, p, drill.LongLife)
		if err != nil {
			return "", err
		}
		slowest = max(slowest, took)
	}
	if _, err := d.CP.Kumactl(ctx, "rotate", "signing-key", "--mesh=default"); err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, time.Second); err != nil { // whoever is to lose its stream by it has lost it then
		return "", err
	}
	keys, err := d.CP.Kumactl(ctx, "get", "secrets", "--mesh=default")
	if err != nil {
		return "", err
	}
	if n := strings.Count(keys, "dataplane-token-signing-key"); n != 1 {
		return "", fmt.Errorf("there are %d signing keys, not one:\n%s", n, keys)
	}
	used, err := d.CP.TokensInUse(ctx, "default")
	if err != nil {
		return "", err
	}
	if len(used) != len(d.Proxies) {
		return "", fmt.Errorf("%d proxies have a stream, not %d", len(used), len(d.Proxies))
	}
	return d.Close(ctx, "signing key rotation", map[drill.Event]time.Duration{tokenUsed: slowest})
}

// revoke takes web-2 out of the mesh, and nobody else.
func (d *tokens) revoke(ctx context.Context) (string, error) {
	p := d.webs[1]
	begin := time.Now()
	p.Withdrawn = begin
	if _, err := d.CP.Kumactl(ctx, "revoke", "dataplane-token", "--token-file="+d.TokenFile(p)); err != nil {
		return "", err
	}
	lost, err := awaitCut(ctx, p)
	if err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, time.Until(begin.Add(drain+2*time.Second))); err != nil {
		return "", err
	}
	refused, closed := out(p, begin)
	p.Hush()
	return d.Close(ctx, "web-2's token revoked", map[drill.Event]time.Duration{
		streamClosed: lost.Sub(begin), newRefused: refused, openClosed: closed})
}

// expire lets api's token end. Its certificate ends with it, and is asked for whenever a connection is opened.
func (d *tokens) expire(ctx context.Context) (string, error) {
	claims, _, err := d.replace(ctx, d.api, 8*time.Second)
	if err != nil {
		return "", err
	}
	lost, err := awaitCut(ctx, d.api)
	if err != nil {
		return "", err
	}
	end := claims.ExpiresAt
	if lost.Before(end) {
		return "", fmt.Errorf("api's stream was closed %v before its token's end", end.Sub(lost))
	}
	if err := drill.Pause(ctx, time.Until(end.Add(2*time.Second))); err != nil {
		return "", err
	}
	d.api.Withdrawn = end
	refused, _ := out(d.api, end)
	return d.Close(ctx, "api's token expires", map[drill.Event]time.Duration{streamClosed: lost.Sub(end), newRefused: refused})
}

// comeBack lets api in again.
func (d *tokens) comeBack(ctx context.Context) (string, error) {
	begin := time.Now()
	_, took, err := d.replace(ctx, d.api, drill.LongLife)
	if err != nil {
		return "", err
	}
	if err := d.api.AwaitWay(ctx); err != nil {
		return "", err
	}
	back := time.Since(begin)
	seen, err := d.Close(ctx, "api gets a new one", map[drill.Event]time.Duration{tokenUsed: took})
	return fmt.Sprintf("reaches backend after %.2f s; %s", back.Seconds(), seen), err
}

// out is how long after the moment it was until no new connection of the proxy was let in, and until nothing that it had
// open was of any use. HTTP counts as open: its Envoy has connections from before.
func out(p *drill.Proxy, begin time.Time) (refused, closed time.Duration) {
	after := func(end time.Time) time.Duration {
		if end.IsZero() {
			end = time.Now() // it has not come yet
		}
		return max(0, end.Sub(begin))
	}
	refused = after(p.Echoes.Calls().LostFrom())
	closed = after(p.Requests.Calls().LostFrom())
	for _, s := range p.Streams.Spells() {
		refused = max(refused, s.Opened.Sub(begin))
		closed = max(closed, after(s.Closed))
	}
	return refused, closed
}

// awaitCut waits until the agent of a proxy has no stream to the control plane.
func awaitCut(ctx context.Context, p *drill.Proxy) (time.Time, error) {
	err := testenv.Eventually(ctx, p.Name+"'s stream to be closed", func() error {
		connected, err := p.Agent.Connected(ctx)
		if connected {
			err = errors.New("it is open")
		}
		return err
	})
	return time.Now(), err
}

// replace gives a proxy a new token and returns how long it took from then until its stream came in by it.
func (d *tokens) replace(ctx context.Context, p *drill.Proxy, life time.Duration) (token.Claims, time.Duration, error) {
	claims, err := d.Give(ctx, p, life)
	if err != nil {
		return claims, 0, err
	}
	begin := time.Now()
	err = testenv.Eventually(ctx, p.Name+" to use its new token", func() error {
		used, err := d.CP.TokensInUse(ctx, "default")
		if err == nil && used[p.Name] != claims.ID {
			err = fmt.Errorf("it uses %q", used[p.Name])
		}
		return err
	})
	return claims, time.Since(begin), err
}
