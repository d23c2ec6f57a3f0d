package testenv_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/testenv"
)

// A standby has what its server has acknowledged, takes no writes, and takes them when it was promoted.
func TestStandby(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := testenv.NewPostgres(ctx)
	if err != nil {
		t.Fatal(err)
	}
	standby, err := p.Standby(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range []*testenv.Postgres{p, standby} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	run := func(p *testenv.Postgres, sql string) error { return p.Exec(ctx, "postgres", sql) }
	for _, p := range []*testenv.Postgres{p, standby} {
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Synchronize(ctx); err != nil {
		t.Fatal(err)
	}
	if err := run(p, "CREATE TABLE seen AS SELECT 'one' AS word"); err != nil {
		t.Fatal(err)
	}
	if err := run(standby, "INSERT INTO seen VALUES ('two')"); err == nil {
		t.Error("a standby takes writes")
	}
	if err := p.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if err := run(standby, "INSERT INTO seen VALUES ('three')"); err != nil {
		t.Error(err)
	}
	got, err := standby.Names(ctx, "postgres", "SELECT word FROM seen ORDER BY word")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "three"}, got); diff != "" {
		t.Error(diff)
	}
}
