package store_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"koguma/store"
	"koguma/testenv"
)

// A Postgres that is away when the store is opened is waited for, and only that.
func TestPostgresIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := testenv.ServePostgres(t)
	cfg := newDatabase(t, p)
	address := net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	cfg.Patience = time.Minute
	begun := time.Now()
	wrong := cfg
	wrong.Password = "wrong"
	notOpened(t, wrong, "password authentication failed")
	unknown := cfg
	unknown.TLSMode, unknown.CAFile = store.TLSVerifyFull, "nowhere.pem"
	notOpened(t, unknown, "nowhere.pem")
	empty, err := p.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	empty.Patience = time.Minute
	notOpened(t, empty, "run kuma-cp migrate up")
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v to say what time does not mend", took)
	}

	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	hasty := cfg
	hasty.Patience = 400 * time.Millisecond
	for _, want := range []string{address, "for 400ms", "check that it runs", "connection refused"} {
		notOpened(t, hasty, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := store.OpenPostgres(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want that the context has ended", err)
	}

	var log lines
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	opened := make(chan error, 1)
	go func() {
		s, err := store.OpenPostgres(t.Context(), cfg)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	eventually(t, "it to wait", func() error {
		if !strings.Contains(log.String(), "waiting for the store") {
			return errors.New("the log says nothing")
		}
		return nil
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
