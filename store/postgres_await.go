package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"koguma/mistake"
)

// errNoWrites says that a server is there, and is a standby, or was made read-only.
var errNoWrites = errors.New("it takes no writes")

// takesWrites is an error where nothing can be written, so that another host is tried.
func takesWrites(ctx context.Context, conn *pgconn.PgConn) error {
	if err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn); err != nil {
		return fmt.Errorf("%w: %w", errNoWrites, err)
	}
	return nil
}

// await is [postgres.listen], again and again for as long as patience goes, or ctx, where Postgres is away.
func (p *postgres) await(ctx context.Context, patience time.Duration) (*pgx.Conn, error) {
	end := time.Now().Add(patience)
	for pause := resync / 4; ; pause = min(2*pause, 4*resync) {
		conn, err := p.listen(ctx)
		if err == nil || patience == 0 || !away(err) || ctx.Err() != nil {
			return conn, err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, fmt.Errorf("it is away, for %v by now: check that it runs there, that it takes writes, and that its port can be "+
				"reached from here: %w", patience, err)
		}
		attrs := []any{"left", left.Round(time.Second), "error", err}
		p.log.Warn("waiting for the store", append(attrs, mistake.Attrs(p.mistaken(err))...)...)
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// away reports whether err may end by itself: the server is not reached, or is not ready.
func away(err error) bool {
	if code := sqlState(err); code != "" {
		switch code[:2] {
		case "08", "53", "57": // connections, too many of them, or it starts or ends
			return true
		}
		return false
	}
	if _, refused := errors.AsType[tls.AlertError](err); refused {
		return false
	}
	_, network := errors.AsType[*net.OpError](err)
	_, name := errors.AsType[*net.DNSError](err)
	return network || name || errors.Is(err, errNoWrites) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF)
}
