package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"koguma/mistake"
)

// deadline is how long Postgres may take for a commit, or for telling what is new.
const deadline = 5 * time.Second

// resync is how often Postgres is asked what is new, for the case that a notification was lost, and whether it is there.
const resync = time.Second

// channel is where writers tell the version that they have come to.
const channel = "koguma"

// postgres is a core that is a copy of what a Postgres holds. A commit takes the lock of all writers, takes in what others
// have written meanwhile, and judges the writes by that; so commits follow each other as if there was one process. One more
// connection hears of what others write, and reads it.
//
// What is in memory is what was in the database at one moment: it is only ever replaced by what was there later, or by what
// is there when the database itself is another.
type postgres struct {
	*core
	address string
	pool    *pgxpool.Pool
	log     *slog.Logger
	origin  string // of what is in memory; "" before there is anything. Who follows sets it, with the turn
	// mistaken is an error of it with what people can do.
	mistaken func(error) error

	stop     context.CancelFunc // of following
	followed chan struct{}      // closed when that has ended

	faultMu sync.Mutex
	fault   error
	asOf    time.Time // when memory was as new as the database last
}

// OpenPostgres returns the store that a Postgres holds, with a schema as [Migrate] makes it. Other processes may have the same
// store open. A Postgres that is away is waited for, a schema that is missing and a password that is wrong are errors at once.
//
// Reads are served from memory, which follows the database at once, and by a second at most where it was not told; a Write
// sees all that was written before by anybody. While Postgres is away, each Write is an ErrUnavailable, at most five seconds
// later, and the store goes on by itself when it is back. A Write that was under way then may turn out to have happened.
func OpenPostgres(ctx context.Context, cfg PostgresConfig) (Store, error) {
	poolConfig, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &postgres{core: newCore(), address: cfg.address(), pool: pool, log: cfg.logger(), mistaken: cfg.mistaken,
		stop: stop, followed: make(chan struct{})}
	p.core.commit, p.keys = p.commit, cfg.Keys
	conn, err := p.await(ctx, cfg.Patience)
	if err != nil {
		stop()
		pool.Close()
		return nil, cfg.mistaken(fmt.Errorf("store postgres %s cannot be opened: %w", p.address, err))
	}
	go func() {
		defer close(p.followed)
		p.follow(following, conn)
	}()
	return p, nil
}

// Fault implements [Store].
func (p *postgres) Fault() error {
	p.faultMu.Lock()
	defer p.faultMu.Unlock()
	if p.fault == nil {
		return nil
	}
	return &Outage{p.asOf, p.fault}
}

// unavailable is what callers of Write are told of err.
func (p *postgres) unavailable(err error) error {
	return fmt.Errorf("postgres %s: %w: %w", p.address, ErrUnavailable, err)
}

// setFault notes that Postgres is away, or for nil that it is there.
func (p *postgres) setFault(err error) {
	p.faultMu.Lock()
	defer p.faultMu.Unlock()
	was := p.fault
	p.fault = nil
	if err != nil {
		p.fault = p.unavailable(err)
	}
	switch {
	case err != nil && (was == nil || was.Error() != p.fault.Error()):
		p.log.Warn("the store does not answer: nothing is written until it does, and what was there is served from memory",
			append([]any{"error", p.fault}, mistake.Attrs(p.mistaken(p.fault))...)...)
	case was != nil && err == nil:
		p.log.Info("the store answers again")
	}
}

// Close implements [Store].
func (p *postgres) Close() error {
	p.stop()
	<-p.followed
	err := p.core.Close()
	p.pool.Close()
	return err
}

// commit does the writes in one transaction. It has the turn.
func (p *postgres) commit(writes []*write) {
	if p.closed {
		settle(writes, ErrClosed)
		return
	}
	if err := p.Fault(); err != nil {
		settle(writes, err) // who follows finds out when it is over
		return
	}
	err := p.transact(writes)
	if err != nil {
		p.setFault(err)
		err = p.unavailable(err)
	}
	settle(writes, err)
}

// transact is commit without its consequences for those who wait.
func (p *postgres) transact(writes []*write) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return p.exclusively(ctx, func(tx pgx.Tx, there mark) error {
		if known := (mark{p.version, p.origin}); there != known {
			n, err := readNews(ctx, tx, known, p.keys)
			if err != nil {
				return err
			}
			if n.whole {
				return errAnother // who follows finds out what is in it
			}
			p.learn(n)
		}
		version, changes := p.judge(writes)
		if len(changes) == 0 {
			return nil
		}
		if err := save(ctx, tx, version, changes); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		p.show(version, changes)
		return nil
	})
}

// exclusively is [alone], on a connection of the pool.
func (p *postgres) exclusively(ctx context.Context, f func(tx pgx.Tx, there mark) error) (err error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer func() {
		if err != nil {
			hangUp(conn.Conn()) // it may be dead, or that of a server that takes no more writes: the pool drops it
		}
	}()
	return alone(ctx, conn.Conn(), f)
}

// alone runs f with a transaction, which keeps all others from writing, and where the database is. What f does not commit is
// undone.
func alone(ctx context.Context, conn *pgx.Conn, f func(tx pgx.Tx, there mark) error) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	var there mark
	err = tx.QueryRow(ctx, "SELECT version, "+selectOrigin+" FROM store_version FOR UPDATE").Scan(&there.version, &there.origin)
	if err != nil {
		return err
	}
	return f(tx, there)
}

// probe finds out whether a Write could be done.
func (p *postgres) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return p.exclusively(ctx, func(pgx.Tx, mark) error { return nil })
}

// newest is the newest version that is in memory.
func (p *postgres) newest() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.version
}

// follow keeps memory as new as the database, by conn for as long as that works, until the context ends.
func (p *postgres) follow(ctx context.Context, conn *pgx.Conn) {
	for {
		err := p.hear(ctx, conn)
		hangUp(conn)
		for err != nil {
			if ctx.Err() != nil {
				return
			}
			p.setFault(err)
			p.pool.Reset() // what it holds may be as dead, or of a server that is no longer the one
			select {
			case <-time.After(resync / 2):
			case <-ctx.Done():
				return
			}
			conn, err = p.listen(ctx)
		}
		p.setFault(p.probe(ctx))
	}
}

// listen is a connection that hears of what is written, when all that was written before is in memory.
func (p *postgres) listen(ctx context.Context) (_ *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*deadline)
	defer cancel()
	pooled, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn := pooled.Hijack() // for good: nobody else is to get one that hears
	defer func() {
		if err != nil {
			hangUp(conn)
		}
	}()
	if err := checkSchema(ctx, conn); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return nil, err
	}
	return conn, p.refresh(ctx, conn)
}

// hear takes in what is written until that fails, or the context ends.
func (p *postgres) hear(ctx context.Context, conn *pgx.Conn) error {
	for {
		if err := p.wait(ctx, conn); err != nil {
			return err
		}
		if err := p.refresh(ctx, conn); err != nil {
			return err
		}
		if p.Fault() != nil {
			p.setFault(p.probe(ctx))
		}
	}
}

// wait returns when somebody has written what is not in memory, and in any case when it is time to ask.
func (p *postgres) wait(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, resync)
	defer cancel()
	for {
		n, err := conn.WaitForNotification(waiting)
		if err != nil {
			if ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded) && !conn.IsClosed() {
				return nil
			}
			return err
		}
		if version, err := strconv.ParseUint(n.Payload, 10, 64); err != nil || version > p.newest() {
			return nil
		}
	}
}

// refresh takes in what is new in the database.
func (p *postgres) refresh(ctx context.Context, conn *pgx.Conn) (err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	defer func(begin time.Time) {
		if err == nil {
			p.faultMu.Lock()
			p.asOf = begin
			p.faultMu.Unlock()
		}
	}(time.Now())
	n, err := readNews(ctx, conn, mark{p.newest(), p.origin}, p.keys)
	if err != nil {
		return err
	}
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if n.whole {
		return alone(ctx, conn, func(tx pgx.Tx, _ mark) error { return p.adopt(ctx, tx) })
	}
	p.learn(n)
	p.origin = n.origin
	return nil
}

// hangUp closes a connection, politely where that is quickly done.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), resync/2)
	defer cancel()
	conn.Close(ctx)
}
