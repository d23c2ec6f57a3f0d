package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Standby makes a server that follows p, from the same files: p has not run yet. It takes no writes until it is promoted.
func (p *Postgres) Standby(ctx context.Context) (*Postgres, error) {
	dir, err := os.MkdirTemp("/tmp", "koguma-pg-")
	if err != nil {
		return nil, err
	}
	s := &Postgres{Host: Loopback(), bin: p.bin, dir: dir}
	if err := s.copyOf(ctx, p); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (p *Postgres) copyOf(ctx context.Context, of *Postgres) error {
	if err := p.settle(); err != nil {
		return err
	}
	cp, err := exec.LookPath("cp")
	if err != nil {
		return err
	}
	if _, err := Run(ctx, Command{Name: "cp", Path: cp, Args: []string{"-a", of.path("data"), p.path("data")}}); err != nil {
		return err
	}
	// It comes back to the other one soon after that has been away: nobody's commit is to wait for that.
	return errors.Join(p.File("data/standby.signal", ""), p.File("data/postgresql.auto.conf", fmt.Sprintf(
		"primary_conninfo = 'host=%s port=%d user=postgres'\nwal_retrieve_retry_interval = '200ms'\n", of.dir, of.Port)))
}

// Synchronize has p acknowledge nothing any more that its standby has not got as well. Both run.
func (p *Postgres) Synchronize(ctx context.Context) error {
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := p.Exec(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	return p.await(ctx, "have a standby", func() error {
		state, err := p.Names(ctx, "postgres", "SELECT sync_state FROM pg_stat_replication")
		if err == nil && (len(state) != 1 || state[0] != "sync") {
			err = fmt.Errorf("it has %v", state)
		}
		return err
	})
}

// Promote has a standby take writes, and follow nobody.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.Exec(ctx, "postgres", "SELECT pg_promote()")
}

// Crash ends the server as a machine that fails does: nothing of it can do anything any more.
func (p *Postgres) Crash() error {
	err := p.signalAll(syscall.SIGKILL)
	<-p.Done()
	return err
}
