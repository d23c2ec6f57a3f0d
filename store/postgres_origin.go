package store

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"koguma/policy"
)

// selectOrigin tells one store, in one database of one server, from any other. A store that was dumped and read in elsewhere
// has the same lineage, and so does a standby; a server that is started again has the same store, but may have lost some of it.
const selectOrigin = `concat_ws(' ', lineage, extract(epoch FROM pg_postmaster_start_time()),
	(SELECT oid FROM pg_database WHERE datname = current_database()))`

// mark is how far the store of one origin has come: the newest version that there is, or was. Versions of different origins
// say nothing of each other.
type mark struct {
	version uint64
	origin  string
}

var (
	// errAnother says that a database is not the one that memory is a copy of.
	errAnother = errors.New("it is not the one that it was; what it holds is about to be read")
	// errEmpty says that, and that nothing was ever written to it: rather a mistake than what everybody is to go by.
	errEmpty = errors.New("it is another one, with nothing in it: restore a backup, or start kuma-cp again to begin anew")
)

// adopt makes memory be what is in the database, which may be another than before. Mostly nothing is lost, and what differs is
// newer. Where a backup was restored, or a standby has taken over that had not got all, what differs is written again with
// versions above all that were seen, for those never go back. The caller has the turn, and the lock.
func (p *postgres) adopt(ctx context.Context, tx pgx.Tx) error {
	seen := p.version
	n, err := readNews(ctx, tx, mark{seen, p.origin}, p.keys)
	if err != nil {
		return err
	}
	if !n.whole { // another process was here first
		p.learn(n)
		return nil
	}
	if n.version == 0 {
		return errEmpty
	}
	changes := p.differences(n)
	version, older, err := renew(changes, seen, n.version, p.keys)
	if err != nil {
		return err
	}
	if n.version < seen || len(older) > 0 {
		p.log.Error("the store has lost what was there: a backup was restored, or a standby that had not got all has taken over; "+
			"from now on what it holds is what counts", "postgres", p.address, "seen", seen, "there", n.version, "older", len(older))
		if err := save(ctx, tx, version, older); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
	}
	p.show(version, changes)
	p.origin = n.origin
	return nil
}

// differences is what leads from memory to n, which is all there is.
func (p *postgres) differences(n news) []change {
	var changes []change
	there := map[policy.Key]bool{}
	for _, ch := range n.changes {
		there[ch.key] = true
		if !identical(p.find(ch.key), ch.resource) {
			changes = append(changes, ch)
		}
	}
	for _, all := range p.resources {
		for _, r := range all {
			if key := r.Metadata().Key(); !there[key] {
				changes = append(changes, change{key: key, version: n.version}) // deleted, and forgotten
			}
		}
	}
	return changes
}

// renew gives those of changes that are no newer than seen new versions, above both. It returns them, to be written and sealed
// with keys, and the newest version.
func renew(changes []change, seen, there uint64, keys *Keys) (version uint64, older []change, err error) {
	version = max(seen, there)
	for i := range changes {
		ch := &changes[i]
		if ch.version > seen {
			continue
		}
		version++
		ch.version = version
		if r := ch.resource; r != nil {
			m := r.Metadata()
			ch.record, ch.resource, err = seal(stamped(r, version, m.CreationTime, m.ModificationTime), keys)
			if err != nil {
				return 0, nil, err
			}
		}
		older = append(older, *ch)
	}
	return version, older, nil
}

// identical reports whether a and b, which may be nil, are the same in all, versions and times included.
func identical(a, b policy.Resource) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, errX := encode(a)
	y, errY := encode(b)
	return errX == nil && errY == nil && a.Metadata().Version == b.Metadata().Version && bytes.Equal(x, y)
}
