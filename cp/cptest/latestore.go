package cptest

import (
	"context"
	"sync"

	"koguma/store"
)

// LateStore lets somebody write when the next Write is already decided upon.
type LateStore struct {
	store.Store
	Late func() // called once
	once sync.Once
}

func (s *LateStore) Write(ctx context.Context, ops ...store.Op) error {
	s.once.Do(s.Late)
	return s.Store.Write(ctx, ops...)
}
