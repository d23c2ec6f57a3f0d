package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"koguma/mistake"
)

// migrations are the steps that make the schema of a Postgres store, in the order of the numbers that their names begin
// with, which have no gap. A step that was released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock of whoever changes the schema.
const migrationLock = 0x6b6f67756d61 // "koguma"

// migrationLimit is how long all of it may take; each statement has the deadline of every other.
const migrationLimit = time.Minute

// Migrate brings the schema of a Postgres up to what this program needs, in one transaction, and returns the versions
// before and after; 0 is an empty database. Who comes meanwhile waits. There is no way back, and a schema that is newer is
// an error.
func Migrate(ctx context.Context, cfg PostgresConfig) (from, to int, err error) {
	ctx, cancel := context.WithTimeout(ctx, migrationLimit)
	defer cancel()
	conn, err := cfg.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer hangUp(conn)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return err
		}
		const table = "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY)"
		if _, err := tx.Exec(ctx, table); err != nil {
			return err
		}
		from, err = schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		to, err = migrate(ctx, tx, from)
		return err
	})
	if sqlState(err) == "42P07" {
		err = fmt.Errorf("%w: the database is in use by something else; give kuma-cp one of its own", err)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("postgres %s: the schema is as it was: %w", cfg.address(), err)
	}
	return from, to, nil
}

// migrate does the steps after from, and returns the last.
func migrate(ctx context.Context, tx pgx.Tx, from int) (int, error) {
	steps, err := migrationSteps()
	if err != nil {
		return 0, err
	}
	if from > len(steps) {
		return 0, tooNew(from, len(steps))
	}
	for i, step := range steps[from:] {
		// The one statement here without parameters, and so several in one: a step is ours.
		if _, err := tx.Exec(ctx, step, pgx.QueryExecModeSimpleProtocol); err != nil {
			return 0, fmt.Errorf("step %d: %w", from+i+1, err)
		}
	}
	if _, err := tx.Exec(ctx, "DELETE FROM schema_version"); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, "INSERT INTO schema_version (version) VALUES ($1)", len(steps))
	return len(steps), err
}

// migrationSteps is the text of each step, the first one first.
func migrationSteps() ([]string, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(files))
	for i := range steps {
		n := slices.IndexFunc(files, func(name string) bool {
			var number int
			_, err := fmt.Sscanf(name, "migrations/%d_", &number)
			return err == nil && number == i+1
		})
		if n < 0 {
			return nil, fmt.Errorf("there is no step %d among %q", i+1, files)
		}
		text, err := fs.ReadFile(migrations, files[n])
		if err != nil {
			return nil, err
		}
		steps[i] = string(text)
	}
	return steps, nil
}

// schemaVersion is the version of the schema, 0 where there is none.
func schemaVersion(ctx context.Context, q querier) (version int, err error) {
	rows, err := q.Query(ctx, "SELECT version FROM schema_version")
	if err == nil {
		version, err = pgx.CollectOneRow(rows, pgx.RowTo[int])
	}
	if errors.Is(err, pgx.ErrNoRows) || sqlState(err) == "42P01" { // no such table
		return 0, nil
	}
	return version, err
}

// checkSchema is an error unless the schema is the one that this program was made for.
func checkSchema(ctx context.Context, q querier) error {
	steps, err := migrationSteps()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, q)
	switch {
	case err != nil:
		return err
	case version > len(steps):
		return tooNew(version, len(steps))
	case version < len(steps):
		err := fmt.Errorf("the schema is at version %d, and %d is needed: run kuma-cp migrate up", version, len(steps))
		return mistake.New(mistake.PostgresNotReady, err)
	}
	return nil
}

func tooNew(version, known int) error {
	err := fmt.Errorf("the schema is at version %d, and this kuma-cp knows them up to %d: run one that is as new", version, known)
	return mistake.New(mistake.PostgresNotReady, err, "kuma-cp version")
}
