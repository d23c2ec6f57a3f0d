package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"koguma/store"
	"koguma/testenv"
	"koguma/testenv/drill"
)

// startPostgres starts the primary and its standby, with a database of its own for the control planes.
func (d *shared) startPostgres(ctx context.Context) (err error) {
	d.Last = d.closePostgres
	if d.primary, err = testenv.NewPostgres(ctx); err != nil {
		return err
	}
	if d.standby, err = d.primary.Standby(ctx); err != nil {
		return err
	}
	for _, p := range []*testenv.Postgres{d.primary, d.standby} {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	if err := d.primary.Synchronize(ctx); err != nil {
		return err
	}
	cfg, err := d.primary.NewDatabase(ctx)
	if err != nil {
		return err
	}
	d.database, d.Places = cfg.Database, 2
	cfg.Hosts = append(cfg.Hosts, store.PostgresHost{Name: d.standby.Host, Port: d.standby.Port})
	d.Env = testenv.PostgresEnv(cfg)
	path, err := testenv.Binary("kuma-cp")
	if err == nil {
		_, err = testenv.Run(ctx, testenv.Command{Name: "kuma-cp", Path: path, Args: []string{"migrate", "up"}, Env: d.Env})
	}
	return err
}

func (d *shared) closePostgres() (err error) {
	for _, p := range []*testenv.Postgres{d.primary, d.standby} {
		if p == nil {
			continue
		}
		if p.Process != nil {
			_ = p.Thaw() // it cannot end while it stalls
		}
		err = errors.Join(err, p.Close())
	}
	return err
}

// piled is how many goroutines more there may be at the end of an outage: a tenth of the writes that were refused.
const piled = 40

// stop stops the Postgres, and starts it again.
func (d *shared) stop(ctx context.Context) (string, error) {
	return d.outage(ctx, "Postgres stopped for 20 s",
		func(context.Context) error { return d.primary.Stop() },
		func(ctx context.Context) error { return d.primary.Start(ctx) })
}

// stall stops all of its processes: connections are open, and taken, and nothing answers.
func (d *shared) stall(ctx context.Context) (string, error) {
	return d.outage(ctx, "Postgres stalled for 20 s",
		func(context.Context) error { return d.primary.Freeze() },
		func(context.Context) error { return d.primary.Thaw() })
}

// outage takes the Postgres away for a while.
func (d *shared) outage(ctx context.Context, phase string, take, give func(context.Context) error) (string, error) {
	before, err := d.goroutines(ctx)
	if err != nil {
		return "", err
	}
	if err := take(ctx); err != nil {
		return "", err
	}
	gone := time.Now()
	if err := d.ready(ctx, http.StatusServiceUnavailable); err != nil {
		return "", err
	}
	took := map[drill.Event]time.Duration{refused: time.Since(gone)}
	if err := drill.Pause(ctx, time.Until(gone.Add(absence-patience))); err != nil {
		return "", err
	}
	last := time.Now() // what is begun until then has ended when the Postgres comes back
	if err := drill.Pause(ctx, time.Until(gone.Add(absence))); err != nil {
		return "", err
	}
	slowest, n, err := d.writer.refused(gone, last)
	if err != nil {
		return "", err
	}
	took[refused] = max(took[refused], slowest)
	now, err := d.goroutines(ctx)
	if err == nil && now > before+piled {
		err = fmt.Errorf("requests have piled up: there were %d goroutines, and %d are there now", before, now)
	}
	if err := errors.Join(err, d.hear(ctx)); err != nil {
		return "", err
	}
	if err := give(ctx); err != nil {
		return "", err
	}
	if took[back], err = d.recovered(ctx, time.Now()); err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, 3*time.Second); err != nil { // what was put off is done then
		return "", err
	}
	result, err := d.Close(ctx, phase, took)
	return fmt.Sprintf("%d writes were refused in the first %.0f s; %s", n, last.Sub(gone).Seconds(), result), err
}

// goroutines is how many both control planes have.
func (d *shared) goroutines(ctx context.Context) (sum int, err error) {
	for _, cp := range d.CPs {
		value, err := cp.Metric(ctx, "go_goroutines")
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// recovered is how long it took from the moment when the Postgres was there, until both control planes are ready and take
// writes.
func (d *shared) recovered(ctx context.Context, since time.Time) (time.Duration, error) {
	if err := d.ready(ctx, http.StatusOK); err != nil {
		return 0, err
	}
	err := d.writer.taken(ctx, since, 0, 1)
	return time.Since(since), err
}

// ready waits until both control planes say so, or that they are not.
func (d *shared) ready(ctx context.Context, want int) error {
	for _, cp := range d.CPs {
		err := testenv.Eventually(ctx, fmt.Sprintf("/ready to be %d", want), func() error {
			status, body, err := testenv.Get(ctx, cp.Diagnostics+"/ready")
			if err == nil && status != want {
				err = fmt.Errorf("it is %d %s", status, body)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// failOver has the primary fail in the middle of many writes, and the standby take over. The primary never comes back.
func (d *shared) failOver(ctx context.Context) (string, error) {
	d.writer.fast.Store(true)
	defer d.writer.fast.Store(false)
	if err := drill.Pause(ctx, time.Second); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := d.primary.Crash(); err != nil {
		return "", err
	}
	if err := d.standby.Promote(ctx); err != nil {
		return "", err
	}
	promoted := time.Since(begin)
	took, err := d.recovered(ctx, begin)
	if err != nil {
		return "", err
	}
	d.writer.fast.Store(false)
	if err := drill.Pause(ctx, 3*time.Second); err != nil {
		return "", err
	}
	result, err := d.Close(ctx, "Postgres fails over", map[drill.Event]time.Duration{resumed: took})
	return fmt.Sprintf("the standby was promoted after %.2f s; %s", promoted.Seconds(), result), err
}

// bothAway stops the Postgres that is left, and kills the control plane that has most proxies: the other one lets them in by
// what it has in memory.
func (d *shared) bothAway(ctx context.Context) (string, error) {
	if err := d.judge(ctx); err != nil {
		return "", err
	}
	if err := d.standby.Stop(); err != nil {
		return "", err
	}
	if err := d.ready(ctx, http.StatusServiceUnavailable); err != nil {
		return "", err
	}
	had, took, err := d.killBusy(ctx)
	if err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, 2*time.Second); err != nil {
		return "", err
	}
	if err := d.standby.Start(ctx); err != nil {
		return "", err
	}
	there := time.Now()
	if err := d.writer.taken(ctx, there, d.idle); err != nil {
		return "", err
	}
	took[back] = time.Since(there)
	if err := d.Restart(ctx, d.busy); err != nil {
		return "", err
	}
	result, err := d.Close(ctx, "Postgres stopped, a control plane killed", took)
	return fmt.Sprintf("it had %d proxies; %s", had, result), err
}

// lag has the standby miss what was written last, and take over all the same.
func (d *shared) lag(ctx context.Context) (string, error) {
	for _, sql := range []string{"ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"} {
		if err := d.primary.Exec(ctx, "postgres", sql); err != nil {
			return "", err
		}
	}
	if err := d.standby.Stop(); err != nil {
		return "", err
	}
	if err := drill.Pause(ctx, 2*time.Second); err != nil {
		return "", err
	}
	if err := errors.Join(d.primary.Crash(), d.standby.Start(ctx), d.standby.Promote(ctx)); err != nil {
		return "", err
	}
	took, err := d.recovered(ctx, time.Now())
	if err != nil {
		return "", err
	}
	return d.Close(ctx, "Postgres fails over, and has lost 2 s", map[drill.Event]time.Duration{resumed: took})
}

// verify ends what is written, and looks for all that was acknowledged: at both control planes, and in the database.
func (d *shared) verify(ctx context.Context) (string, error) {
	d.writer.stop()
	names, err := d.standby.Names(ctx, d.database, "SELECT name FROM resources WHERE type = 'Secret' AND mesh = 'default' AND spec IS NOT NULL")
	if err != nil {
		return "", err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	all := d.writer.since(time.Time{})
	var acknowledged, unclear int
	var lost []error
	for _, w := range all {
		switch {
		case w.status == 0:
			unclear++
		case w.acknowledged():
			acknowledged++
			if err := d.kept(ctx, w.n, there); err != nil {
				lost = append(lost, err)
			}
		}
	}
	if len(lost) > 0 {
		return "", fmt.Errorf("of %d acknowledged writes %d are not there: %w", acknowledged, len(lost), lost[0])
	}
	return fmt.Sprintf("of %d writes %d were acknowledged, and are there; %d were refused, and to %d came no answer",
		len(all), acknowledged, len(all)-acknowledged-unclear, unclear), nil
}

// kept says what is wrong if the n-th write is not in the database, which has Secrets of these names, or a control plane
// does not have it.
func (d *shared) kept(ctx context.Context, n int, there map[string]bool) error {
	if name := secretName(n); !there[name] {
		return fmt.Errorf("%s is not in the database", name)
	}
	for _, api := range d.writer.apis {
		if err := d.writer.holds(ctx, api, n); err != nil {
			return err
		}
	}
	return nil
}
