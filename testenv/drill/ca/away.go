package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

// takeAway kills the control plane in the middle of a rotation, as soon as all certificates have been replaced.
func (d *ca) takeAway(ctx context.Context) (string, error) {
	if err := d.turn(ctx); err != nil {
		return "", err
	}
	if err := d.replaced(ctx, time.Now()); err != nil {
		return "", err
	}
	if _, err := d.Close(ctx, "CA rotated halfway", nil); err != nil {
		return "", err
	}
	d.CP.Kill()
	d.away = time.Now()
	end, err := d.end(ctx)
	if err != nil {
		return "", err
	}
	left := end.Sub(d.away)
	if err := drill.Pause(ctx, time.Until(d.away.Add(life*45/100))); err != nil {
		return "", err
	}
	seen, err := d.Close(ctx, "control plane away for 27 s", nil)
	return fmt.Sprintf("certificates were good for %.1f s more; %s", left.Seconds(), seen), err
}

// killEnvoy kills spare's Envoy, which can get what it needs from its agent only.
func (d *ca) killEnvoy(ctx context.Context) (string, error) {
	old := d.spare.Agent.EnvoyPID()
	if old == 0 {
		return "", errors.New("spare has no Envoy to kill")
	}
	begin := time.Now()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		return "", err
	}
	err := testenv.Eventually(ctx, "spare to serve again", func() error {
		if now := d.spare.Agent.EnvoyPID(); now == 0 || now == old {
			return errors.New("it has no Envoy")
		}
		return drill.Ask(ctx, d.web1.At("outSpare"))
	})
	if err != nil {
		return "", err
	}
	return d.Close(ctx, "... an Envoy killed", map[drill.Event]time.Duration{servesAgain: time.Since(begin)})
}

// stayAway lets nine tenths of a certificate's life pass.
func (d *ca) stayAway(ctx context.Context) (string, error) {
	if err := drill.Pause(ctx, time.Until(d.away.Add(life*9/10))); err != nil {
		return "", err
	}
	return d.Close(ctx, "... and until it was away for 54 s", nil)
}

// bringBack starts the control plane again, and goes on until the old certificates would have ended and the rotation has.
func (d *ca) bringBack(ctx context.Context) (string, error) {
	end, err := d.end(ctx)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	left := end.Sub(begin)
	if err := d.StartCP(ctx); err != nil {
		return "", err
	}
	if err := d.replaced(ctx, begin); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, time.Until(end.Add(time.Second))); err != nil {
		return "", err
	}
	seen, err := d.Close(ctx, "control plane back", map[drill.Event]time.Duration{renewed: took})
	return fmt.Sprintf("away for %.1f s; certificates were good for %.1f s more; %s",
		begin.Sub(d.away).Seconds(), left.Seconds(), seen), err
}

// replaced waits until all certificates are from after that moment.
func (d *ca) replaced(ctx context.Context, since time.Time) error {
	return testenv.Eventually(ctx, "all certificates to be replaced", func() error {
		end, err := d.end(ctx)
		if err == nil && end.Sub(since) < life-time.Second { // it is in whole seconds
			err = fmt.Errorf("the first ends in %v", time.Until(end))
		}
		return err
	})
}

// end is when the first certificate of a proxy ends.
func (d *ca) end(ctx context.Context) (time.Time, error) {
	var ends []time.Time
	for _, p := range d.Proxies {
		value, err := p.Agent.Metric(ctx, "kuma_dp_certificate_not_after_seconds")
		if err != nil {
			return time.Time{}, err
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return time.Time{}, err
		}
		ends = append(ends, time.Unix(int64(seconds), 0))
	}
	return slices.MinFunc(ends, time.Time.Compare), nil
}
