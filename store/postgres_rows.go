package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"koguma/policy"
)

// querier is a connection, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// news is what a database holds that is newer than a version.
type news struct {
	mark
	whole   bool // it is all there is, because what has happened since cannot be told
	changes []change
}

// One statement, and so one moment: what a transaction has written is in there wholly or not at all.
const selectNews = `
WITH now AS (SELECT version, pruned, ` + selectOrigin + ` AS origin FROM store_version),
v AS (SELECT version, origin, $2 <> '' AND (pruned > $1 OR version < $1 OR origin <> $2) AS whole FROM now)
SELECT current_setting('transaction_read_only')::boolean, v.version, v.origin, v.whole,
	coalesce(r.type, ''), coalesce(r.mesh, ''), coalesce(r.name, ''), coalesce(r.version, 0), r.spec
FROM v LEFT JOIN resources r ON r.version > CASE WHEN v.whole THEN 0 ELSE $1 END
ORDER BY r.type, r.mesh, r.name`

// readNews reads what is newer than since, or all there is, and opens it with keys. A standby, which has nothing to say, is an
// error.
func readNews(ctx context.Context, q querier, since mark, keys *Keys) (news, error) {
	rows, err := q.Query(ctx, selectNews, int64(since.version), since.origin)
	if err != nil {
		return news{}, err
	}
	defer rows.Close()
	var n news
	var readOnly bool
	for rows.Next() {
		var ch change
		var spec []byte
		if err := rows.Scan(&readOnly, &n.version, &n.origin, &n.whole, &ch.key.Type, &ch.key.Mesh, &ch.key.Name, &ch.version, &spec); err != nil {
			return news{}, err
		}
		if ch.version == 0 {
			continue // nothing is newer
		}
		if spec != nil {
			if ch.resource, err = unsealRow(ch, spec, keys); err != nil {
				return news{}, fmt.Errorf("%s: %w", ch.key, err)
			}
		}
		n.changes = append(n.changes, ch)
	}
	if err := rows.Err(); err != nil {
		return news{}, err
	}
	if readOnly {
		return news{}, errNoWrites
	}
	return n, nil
}

// unsealRow is the resource of a row, which has to be the one that the row says it is.
func unsealRow(row change, spec []byte, keys *Keys) (policy.Resource, error) {
	r, err := unseal(row.key.Type, spec, keys)
	if err != nil {
		return nil, err
	}
	if m := r.Metadata(); m.Key() != row.key || m.Version != row.version {
		return nil, fmt.Errorf("version %d under this name is version %d of %s", row.version, m.Version, m.Key())
	}
	return r, nil
}

// learn takes in what is newer than memory: that may have become newer since n was read. The caller has the turn.
func (p *postgres) learn(n news) {
	if n.version <= p.version {
		return
	}
	p.show(n.version, slices.DeleteFunc(n.changes, func(ch change) bool { return ch.version <= p.version }))
}

const upsert = `
INSERT INTO resources (type, mesh, name, version, spec, deleted)
SELECT type, mesh, name, version, spec, CASE WHEN spec IS NULL THEN now() END
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[]) AS changed (type, mesh, name, version, spec)
ON CONFLICT (type, mesh, name) DO UPDATE SET version = excluded.version, spec = excluded.spec, deleted = excluded.deleted`

// A deletion is remembered for an hour. Who was away for longer reads everything.
const advance = `
WITH gone AS (DELETE FROM resources WHERE deleted < now() - interval '1 hour' RETURNING version)
UPDATE store_version SET version = $1, pruned = greatest(pruned, (SELECT max(version) FROM gone))`

// save writes changes, and tells everybody when tx is committed. The lock is held.
func save(ctx context.Context, tx pgx.Tx, version uint64, changes []change) error {
	n := len(changes)
	types, meshes, names := make([]string, n), make([]string, n), make([]string, n)
	versions, specs := make([]int64, n), make([][]byte, n)
	for i, ch := range changes {
		types[i], meshes[i], names[i] = string(ch.key.Type), ch.key.Mesh, ch.key.Name
		versions[i], specs[i] = int64(ch.version), ch.record
	}
	var b pgx.Batch
	b.Queue(upsert, types, meshes, names, versions, specs)
	b.Queue(advance, int64(version))
	b.Queue("SELECT pg_notify($1, $2)", channel, strconv.FormatUint(version, 10))
	return tx.SendBatch(ctx, &b).Close()
}
