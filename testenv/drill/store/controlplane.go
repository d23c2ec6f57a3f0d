package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"koguma/testenv"
	"koguma/testenv/drill"
)

// missed is when the Dataplane of a proxy has gone whose stream has broken, and that is not back: after 10 s.
const missed = 12 * time.Second

// races is how many meshes are made at both control planes at once.
const races = 10

// race makes meshes at both control planes at the same moment. Each has one CA.
func (d *shared) race(ctx context.Context) (string, error) {
	const mesh = `{"type":"Mesh","name":%q,"mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`
	for i := range races {
		name := fmt.Sprint("race-", i)
		var both sync.WaitGroup
		for _, api := range d.writer.apis {
			both.Go(func() { d.writer.put(api+"/meshes/"+name, fmt.Sprintf(mesh, name)) }) // one of them may be refused
		}
		both.Wait()
		trust, err := d.trusted(ctx, name)
		if err != nil {
			return "", err
		}
		if n := strings.Count(trust, " "); n != 1 {
			return "", fmt.Errorf("%s has %d CAs: %s", name, n, trust)
		}
	}
	result, err := d.Close(ctx, fmt.Sprint(races, " meshes made at both at once"), nil)
	return fmt.Sprintf("each has one CA; %s", result), err
}

// trusted is what both control planes say whom a mesh trusts: its name and the authorities. It waits until they agree.
func (d *shared) trusted(ctx context.Context, mesh string) (trust string, err error) {
	err = testenv.Eventually(ctx, "both to trust the same in "+mesh, func() error {
		var both []string
		for _, cp := range d.CPs {
			v, err := cp.Trust(ctx, mesh)
			if err != nil {
				return err
			}
			said := v.Mesh
			for _, a := range v.Authorities {
				said += " " + a.Fingerprint
			}
			both = append(both, said)
		}
		if trust = both[0]; both[1] != trust || !strings.Contains(trust, " ") {
			return fmt.Errorf("%q and %q", trust, both[1])
		}
		return nil
	})
	return trust, err
}

// sessions is how many proxies are at a control plane.
func (d *shared) sessions(ctx context.Context, i int) (int, error) {
	value, err := d.CPs[i].Metric(ctx, "koguma_sessions")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

// hear says what is wrong if the control planes do not hear each other.
func (d *shared) hear(ctx context.Context) error {
	for i, cp := range d.CPs {
		n, err := cp.Metric(ctx, `koguma_control_planes{state="heard"}`)
		if err == nil && n != "1" {
			err = fmt.Errorf("control plane %d hears %s others", i+1, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// judge finds out which control plane has most proxies.
func (d *shared) judge(ctx context.Context) error {
	first, err := d.sessions(ctx, 0)
	if err != nil {
		return err
	}
	second, err := d.sessions(ctx, 1)
	if d.busy, d.idle = 0, 1; second > first {
		d.busy, d.idle = 1, 0
	}
	return err
}

// gathered waits until so many proxies are at these control planes, and at none of them twice.
func (d *shared) gathered(ctx context.Context, n int, cps ...int) error {
	return testenv.Eventually(ctx, fmt.Sprint(n, " proxies to be connected"), func() error {
		sum := 0
		for _, i := range cps {
			here, err := d.sessions(ctx, i)
			if err != nil {
				return err
			}
			sum += here
		}
		if sum != n {
			return fmt.Errorf("there are %d", sum)
		}
		return nil
	})
}

// killBusy kills the control plane that has most proxies, and returns how many it had, when the other one has all.
func (d *shared) killBusy(ctx context.Context) (had int, took map[drill.Event]time.Duration, err error) {
	if had, err = d.sessions(ctx, d.busy); err != nil {
		return 0, nil, err
	}
	begin := time.Now()
	d.CPs[d.busy].Kill()
	err = d.gathered(ctx, len(d.Proxies), d.idle)
	return had, map[drill.Event]time.Duration{moved: time.Since(begin)}, err
}

// kill kills the control plane that has most proxies. The other one gets them, and what acts on them.
func (d *shared) kill(ctx context.Context) (string, error) {
	if err := d.judge(ctx); err != nil {
		return "", err
	}
	had, took, err := d.killBusy(ctx)
	if err != nil {
		return "", err
	}
	if took[acted], err = d.command(ctx); err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, 2*time.Second); err != nil { // what it breaks shows then
		return "", err
	}
	result, err := d.Close(ctx, "a control plane killed", took)
	return fmt.Sprintf("it had %d proxies; %s", had, result), err
}

// command lets guest reach backend, and withdraws its token then. It returns how long the slower of these took to act.
func (d *shared) command(ctx context.Context) (time.Duration, error) {
	acts := func(what string, reaches bool, args ...string) (time.Duration, error) {
		begin := time.Now()
		if _, err := d.CPs[d.idle].Kumactl(ctx, args...); err != nil {
			return 0, err
		}
		err := testenv.Eventually(ctx, what+" to act", func() error {
			if err := drill.Ask(ctx, d.guest.At("outHTTP")); (err == nil) != reaches {
				return fmt.Errorf("a request of guest's: %v", err)
			}
			return nil
		})
		return time.Since(begin), err
	}
	if err := drill.Ask(ctx, d.guest.At("outHTTP")); err == nil {
		return 0, errors.New("guest reaches backend, and nothing permits it")
	}
	permitted, err := acts("the permission", true, "apply", "-f", d.Path("permission.yaml"))
	if err != nil {
		return 0, err
	}
	d.watch.excuse(d.guest)
	revoked, err := acts("the revocation", false, "revoke", "dataplane-token", "--token-file="+d.TokenFile(d.guest))
	return max(permitted, revoked), err
}

// restart starts the control plane again that was killed. The proxies stay where they are.
func (d *shared) restart(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.Restart(ctx, d.busy); err != nil {
		return "", err
	}
	ready := time.Now()
	if err := d.writer.taken(ctx, ready, d.busy); err != nil {
		return "", err
	}
	took := time.Since(ready)
	if err := d.gathered(ctx, len(d.Proxies)-1, 0, 1); err != nil {
		return "", err
	}
	result, err := d.Close(ctx, "... and started again", map[drill.Event]time.Duration{back: took})
	return fmt.Sprintf("ready after %.2f s; %s", ready.Sub(begin).Seconds(), result), err
}

// freeze stalls the control plane that has most proxies, for longer than its lease.
func (d *shared) freeze(ctx context.Context) (string, error) {
	if err := d.judge(ctx); err != nil {
		return "", err
	}
	d.writer.fast.Store(true)
	defer d.writer.fast.Store(false)
	if err := drill.Pause(ctx, time.Second); err != nil {
		return "", err
	}
	begin, writing, err := d.halt(ctx)
	if err != nil {
		return "", err
	}
	d.writer.fast.Store(false)
	took := map[drill.Event]time.Duration{}
	if err := d.writer.taken(ctx, begin, d.idle); err != nil {
		return "", err
	}
	took[resumed] = time.Since(begin)
	if err := d.gathered(ctx, len(d.Proxies)-1, d.idle); err != nil {
		return "", err
	}
	took[left] = time.Since(begin)
	if err := drill.Pause(ctx, time.Until(begin.Add(absence))); err != nil {
		return "", err
	}
	result, err := d.Close(ctx, "a control plane stalled for 20 s", took)
	if writing {
		result = "it had the lock of all writers; " + result
	}
	return result, err
}

// halt stops the control plane that has most proxies in the middle of a write, or anywhere if that cannot be had.
func (d *shared) halt(ctx context.Context) (at time.Time, writing bool, err error) {
	const open = "SELECT a.state FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.state = 'idle in transaction' " +
		"AND a.state_change < now() - interval '50 ms' AND l.relation = 'store_version'::regclass"
	cp := d.CPs[d.busy]
	for range 50 {
		at = time.Now()
		if err := errors.Join(cp.Signal(syscall.SIGSTOP), drill.Pause(ctx, 100*time.Millisecond)); err != nil {
			return at, false, err
		}
		states, err := d.standby.Names(ctx, d.database, open)
		if err != nil || len(states) > 0 {
			return at, true, err
		}
		if err := errors.Join(cp.Signal(syscall.SIGCONT), drill.Pause(ctx, 20*time.Millisecond)); err != nil {
			return at, false, err
		}
	}
	at = time.Now()
	return at, false, cp.Signal(syscall.SIGSTOP)
}

// thaw lets it go on. It is not to believe what it knew.
func (d *shared) thaw(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.CPs[d.busy].Signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	took, err := d.recovered(ctx, begin)
	if err != nil {
		return "", err
	}
	if err := d.gathered(ctx, len(d.Proxies)-1, 0, 1); err != nil {
		return "", err
	}
	took = max(took, time.Since(begin))
	if err := drill.Pause(ctx, missed); err != nil {
		return "", err
	}
	if err := d.same(ctx); err != nil {
		return "", err
	}
	return d.Close(ctx, "... and goes on", map[drill.Event]time.Duration{back: took})
}

// same says what is wrong if the mesh does not trust whom it trusted at first, or a control plane has not all proxies.
func (d *shared) same(ctx context.Context) error {
	trust, err := d.trusted(ctx, "default")
	if err != nil {
		return err
	}
	if trust != d.trust {
		return fmt.Errorf("the mesh trusted %s, and now %s", d.trust, trust)
	}
	for i, cp := range d.CPs {
		err := testenv.Eventually(ctx, fmt.Sprintf("control plane %d to know of all", i+1), func() error {
			table, err := cp.Kumactl(ctx, "inspect", "dataplanes")
			if err == nil && strings.Count(table, "Online") != len(d.Proxies)-1 {
				err = errors.New(table)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// killBoth leaves the proxies alone for a while.
func (d *shared) killBoth(ctx context.Context) (string, error) {
	begin := time.Now()
	for _, cp := range d.CPs {
		cp.Kill()
	}
	if err := drill.Pause(ctx, time.Until(begin.Add(absence/2))); err != nil {
		return "", err
	}
	errs := make(chan error)
	for i := range d.CPs {
		go func() { errs <- d.Restart(ctx, i) }()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		return "", err
	}
	if err := d.ready(ctx, http.StatusOK); err != nil {
		return "", err
	}
	ready := time.Now()
	if err := d.gathered(ctx, len(d.Proxies)-1, 0, 1); err != nil {
		return "", err
	}
	took := time.Since(ready)
	if err := drill.Pause(ctx, missed); err != nil {
		return "", err
	}
	if err := d.same(ctx); err != nil {
		return "", err
	}
	return d.Close(ctx, "both killed for 10 s", map[drill.Event]time.Duration{found: took})
}
