package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/testenv/drill"
)

// stall is how long it is watched that a stage does not go on.
const stall = 5 * time.Second

// turn begins to replace the CA that signs by the other one.
func (d *ca) turn(ctx context.Context) error {
	d.signs = map[string]string{"ca-1": "ca-2", "ca-2": "ca-1"}[d.signs]
	_, err := d.CP.Kumactl(ctx, "rotate", "ca", "--mesh=default", "--to="+d.signs)
	return err
}

// turnWithout stops the agent of a proxy before that.
func (d *ca) turnWithout(ctx context.Context, p *drill.Proxy) error {
	if err := p.Agent.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return d.turn(ctx)
}

// settled waits until only the CA that was turned to is trusted, by all.
func (d *ca) settled(ctx context.Context) error {
	return testenv.Eventually(ctx, "the rotation to end", func() error {
		v, err := d.CP.Trust(ctx, "default")
		if err == nil && (v.Stage != policy.StageSettled || v.Issuing != d.signs) {
			err = fmt.Errorf("%s is at %s, and waits for %v", v.Issuing, v.Stage, v.WaitsFor)
		}
		return err
	})
}

// waits says what is wrong if the rotation is not in a stage, or waits for anybody else than this proxy.
func (d *ca) waits(ctx context.Context, stage policy.TrustStage, p *drill.Proxy) error {
	v, err := d.CP.Trust(ctx, "default")
	if err == nil && (v.Stage != stage || len(v.WaitsFor) != 1 || v.WaitsFor[0].Proxy != p.Name) {
		err = fmt.Errorf("it is at %s, and waits for %v", v.Stage, v.WaitsFor)
	}
	return err
}

// held waits until the rotation waits in a stage for this proxy and nobody else.
func (d *ca) held(ctx context.Context, stage policy.TrustStage, p *drill.Proxy) error {
	return testenv.Eventually(ctx, fmt.Sprintf("the rotation to wait in %s for %s", stage, p.Name), func() error {
		return d.waits(ctx, stage, p)
	})
}

// rotate replaces the CA, and nothing is in its way.
func (d *ca) rotate(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.turn(ctx); err != nil {
		return "", err
	}
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := drill.Pause(ctx, time.Second); err != nil { // what it breaks shows then
		return "", err
	}
	return d.Close(ctx, "CA rotated", map[drill.Event]time.Duration{rotated: took})
}

// rotateKilled kills the control plane in each of the three stages, which the next one has to find and go on with. For
// the stages to be there for long enough, two agents take turns in holding them up.
func (d *ca) rotateKilled(ctx context.Context) (string, error) {
	if err := d.turnWithout(ctx, d.backend1); err != nil {
		return "", err
	}
	held, next := d.backend1, d.web1
	for _, stage := range []policy.TrustStage{policy.StageTrustBoth, policy.StageIssue, policy.StageDrop} {
		if err := d.held(ctx, stage, held); err != nil {
			return "", err
		}
		d.CP.Kill()
		if err := d.StartCP(ctx); err != nil {
			return "", err
		}
		if err := d.held(ctx, stage, held); err != nil {
			return "", err
		}
		if stage == policy.StageDrop {
			break // and nobody is to hold up what comes then
		}
		if err := errors.Join(next.Agent.Signal(syscall.SIGSTOP), held.Agent.Signal(syscall.SIGCONT)); err != nil {
			return "", err
		}
		held, next = next, held
	}
	begin := time.Now()
	if err := held.Agent.Signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	return d.Close(ctx, "CA rotated, control plane killed in each stage", map[drill.Event]time.Duration{rotated: time.Since(begin)})
}

// rotateStopped replaces the CA while an agent is stopped: it is named, and nothing goes on before it does.
func (d *ca) rotateStopped(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.turnWithout(ctx, d.web1); err != nil {
		return "", err
	}
	if err := d.held(ctx, policy.StageTrustBoth, d.web1); err != nil {
		return "", err
	}
	took := map[drill.Event]time.Duration{named: time.Since(begin)}
	for begin = time.Now(); time.Since(begin) < stall; {
		if err := errors.Join(d.waits(ctx, policy.StageTrustBoth, d.web1), drill.Pause(ctx, 50*time.Millisecond)); err != nil {
			return "", fmt.Errorf("after %.2f s the rotation does not wait for %s any more: %w", time.Since(begin).Seconds(), d.web1.Name, err)
		}
	}
	waited := time.Since(begin)
	begin = time.Now()
	if err := d.web1.Agent.Signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	took[rotated] = time.Since(begin)
	seen, err := d.Close(ctx, "CA rotated, an agent stopped", took)
	return fmt.Sprintf("nothing went on for %.2f s, and then it did; %s", waited.Seconds(), seen), err
}

// force replaces the CA although an agent is stopped.
func (d *ca) force(ctx context.Context) (string, error) {
	if err := d.turnWithout(ctx, d.web1); err != nil {
		return "", err
	}
	err := testenv.Eventually(ctx, "the rotation to be forced", func() error {
		v, err := d.CP.Trust(ctx, "default")
		if err != nil || v.Stage == policy.StageSettled && v.Issuing == d.signs {
			return err
		}
		_, err = d.CP.Kumactl(ctx, "rotate", "ca", "--mesh=default", "--force")
		return errors.Join(fmt.Errorf("it is at %s", v.Stage), err)
	})
	if err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, 3*time.Second); err != nil {
		return "", err
	}
	return d.Close(ctx, "CA rotated by force, an agent stopped", nil)
}
