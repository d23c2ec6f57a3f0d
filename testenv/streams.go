package testenv

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Streams keeps connections to a TCP service open and in use. One that is cut is opened again.
type Streams struct {
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu     sync.Mutex
	spells []Spell
}

// Spell is how long one connection lived. Closed is the zero time while it does.
type Spell struct{ Opened, Closed time.Time }

// reopen is how long to wait before a connection is opened again that could not be.
const reopen = 20 * time.Millisecond

// StartStreams keeps so many connections to a TCP service in use.
func StartStreams(ctx context.Context, address string, n int) *Streams {
	ctx, cancel := context.WithCancel(ctx)
	s := &Streams{stop: cancel}
	for range n {
		s.ended.Go(func() { s.run(ctx, address) })
	}
	return s
}

// Stop closes the connections.
func (s *Streams) Stop() {
	s.stop()
	s.ended.Wait()
}

// Spells are all connections that there have been, in the order in which they were opened.
func (s *Streams) Spells() []Spell {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spells)
}

func (s *Streams) run(ctx context.Context, address string) {
	for ctx.Err() == nil {
		c, err := OpenEcho(Dial(address))
		if err != nil {
			select {
			case <-time.After(reopen):
			case <-ctx.Done():
			}
			continue
		}
		i := s.opened()
		select {
		case at := <-c.Closed:
			s.closed(i, at)
		case <-ctx.Done():
			c.Close()
			<-c.Closed
		}
	}
}

func (s *Streams) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spells = append(s.spells, Spell{Opened: time.Now()})
	return len(s.spells) - 1
}

func (s *Streams) closed(i int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spells[i].Closed = at
}
