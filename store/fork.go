package store

import "context"

// Fork is a store in memory that begins with all that another one has now, versions and times included. What is written
// to either from then on, the other never sees: it is for finding out what writes would come to.
func Fork(ctx context.Context, s Store) (Store, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.Watch(ctx)
	if err != nil {
		return nil, err
	}
	all, err := w.Next(ctx)
	if err != nil {
		return nil, err
	}
	c := newCore()
	for _, e := range all {
		c.set(e.Key, e.Resource)
	}
	c.version = w.Version()
	return c, nil
}
