package gui

import (
	"context"
	"time"
)

// What a look may cost. A mesh is looked at every so often while a page shows it, because not all that changes says so: what
// other control planes see, what Envoys take, that a time has passed. It is soon enough for people. What a look took is
// followed by nine times as much without one, so that pages take a tenth of one core at most, however large the mesh is.
const (
	minPause = 300 * time.Millisecond
	maxPause = 3 * time.Second
	restRate = 9
)

// view is a mesh that at least one page shows. All of those share its looks.
type view struct {
	mesh  string
	pages int // guarded by the server's lock

	turn   chan struct{} // holds one while somebody looks, who owns the rest
	last   *edition
	next   time.Time // when to look again
	stamp  stamp
	matrix matrix
}

// look is the newest edition, and when there may be another. It is made by whoever comes first when it is time, while the
// others wait for that one.
func (v *view) look(ctx context.Context, source Source) (*edition, time.Time, error) {
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	begin := time.Now()
	if v.last != nil && begin.Before(v.next) {
		return v.last, v.next, nil
	}
	s, err := source.Look(ctx, v.mesh)
	if err != nil {
		return nil, time.Time{}, err
	}
	if s.Mesh == nil {
		v.matrix, v.stamp = matrix{services: []string{}}, stamp{}
	} else if st := stampOf(s); st != v.stamp {
		v.matrix, v.stamp = newMatrix(s), st
	}
	e, err := newEdition(s, v.matrix, v.last)
	if err != nil {
		return nil, time.Time{}, err
	}
	now := time.Now()
	v.last, v.next = e, now.Add(min(max(minPause, restRate*now.Sub(begin)), maxPause))
	return v.last, v.next, nil
}

// join is the view of a mesh for one page more, which leaves it again.
func (s *Server) join(mesh string, admin bool) (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[admin] == MaxStreams {
		return nil, ErrTooMany
	}
	s.streams[admin]++
	v := s.views[mesh]
	if v == nil {
		v = &view{mesh: mesh, turn: make(chan struct{}, 1)}
		s.views[mesh] = v
	}
	v.pages++
	return v, nil
}

func (s *Server) leave(v *view, admin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[admin]--
	if v.pages--; v.pages == 0 {
		delete(s.views, v.mesh)
	}
}
