package cp

import (
	"errors"

	"koguma/store"
)

// ShareForLong is [ControlPlane.Share] for a test that begins and ends before anything lapses.
func (c *ControlPlane) ShareForLong(s store.Store) { c.store = s }

// Bury is the ids of the control planes that the one with that id finds to have ended, none of which could be put right if err is
// set.
func Bury(dir, id string, err error) (ended []string, _ error) {
	p, failed := enter(dir, id)
	if failed != nil {
		return nil, failed
	}
	failed = p.bury(func(id string) error { ended = append(ended, id); return err })
	return ended, errors.Join(failed, p.leave(true))
}
