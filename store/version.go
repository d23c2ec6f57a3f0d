package store

import "context"

// Version is the version of a store that has taken in all that was written to it before: a [Watch] that has come to it, or
// past it, has shown all that.
func Version(ctx context.Context, s Store) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.Watch(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := w.Next(ctx); err != nil {
		return 0, err
	}
	return w.Version(), nil
}
