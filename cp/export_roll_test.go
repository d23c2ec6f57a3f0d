package cp

import (
	"context"
	"encoding/json"
	"time"

	"koguma/policy"
	"koguma/xds"
)

// Call gives the core the id of a control plane.
func (c *Core) Call(id string) { c.reconciler.roll.self = id }

// Unheard has a control plane be there that does not answer.
func (c *Core) Unheard(peer string) { c.reconciler.roll.unheard(peer, peer+":5683", time.Now()) }

// Lost has a control plane be no more.
func (c *Core) Lost(peer string) { c.reconciler.roll.lost(peer) }

// Tell has another core hear what this one has to tell, as it would go over the wire, until the context ends.
func (c *Core) Tell(ctx context.Context, to *Core) error {
	cursor := c.reconciler.roll.follow()
	defer cursor.close()
	for {
		u, err := cursor.next(ctx)
		if err != nil {
			return err
		}
		line, err := json.Marshal(u)
		if err != nil {
			return err
		}
		var heard rollUpdate
		if err := policy.DecodeOpen(line, &heard); err != nil {
			return err
		}
		to.reconciler.roll.hear(c.reconciler.roll.self, heard)
	}
}

// Took has a control plane tell that a proxy of it has taken that version of its Dataplane.
func (c *Core) Took(peer string, key policy.Key, version uint64) {
	s := sighting{Mesh: key.Mesh, Name: key.Name, Since: time.Now(), Took: version}
	c.reconciler.roll.hear(peer, rollUpdate{Full: true, Sightings: []sighting{s}, Progress: version, Now: time.Now()})
}

// Ended is why a session has ended, nil if it has not.
func Ended(s xds.Session) error { return context.Cause(s.(*session).ctx) }
