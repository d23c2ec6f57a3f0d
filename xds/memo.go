package xds

import (
	"runtime"
	"sync"
	"weak"
)

// memo finds what is in use by what it was made from. It keeps nothing alive: what nobody holds any more is forgotten.
type memo[T any] struct {
	mu sync.Mutex
	m  map[any]weak.Pointer[T]
}

// get is the value for the key, made if nobody has it. Two that make it at the same time may each have their own.
func (m *memo[T]) get(key any, make func() (*T, error)) (*T, error) {
	m.mu.Lock()
	v := m.m[key].Value()
	m.mu.Unlock()
	if v != nil {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return nil, err
	}
	runtime.AddCleanup(v, m.forget, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[any]weak.Pointer[T]{}
	}
	m.m[key] = weak.Make(v)
	return v, nil
}

func (m *memo[T]) forget(key any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.m[key]; ok && p.Value() == nil {
		delete(m.m, key)
	}
}
