package xds

import (
	"fmt"
	"runtime"
	"sync"
	"weak"

	"google.golang.org/protobuf/proto"
)

// memo finds the resources that are in use by what they were built from. It keeps none alive: one that no snapshot
// holds any more is forgotten.
type memo struct {
	mu sync.Mutex
	m  map[any]weak.Pointer[Resource]
}

// get is the resource for the key, built if nobody has it.
func (m *memo) get(key any, n named) (*Resource, error) {
	m.mu.Lock()
	r := m.m[key].Value()
	m.mu.Unlock()
	if r != nil {
		return r, nil
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.build())
	if err != nil {
		return nil, fmt.Errorf("resource %q: %w", n.name, err)
	}
	r = NewResource(n.name, body)
	runtime.AddCleanup(r, m.forget, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[any]weak.Pointer[Resource]{}
	}
	m.m[key] = weak.Make(r)
	return r, nil
}

func (m *memo) forget(key any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.m[key]; ok && p.Value() == nil {
		delete(m.m, key)
	}
}
