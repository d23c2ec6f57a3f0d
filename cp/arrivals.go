package cp

import (
	"sync"

	"koguma/policy"
)

// arrivals keeps the coming of a proxy and the removal of its Dataplane apart: one that is back at once must not find its
// Dataplane in the store and lose it a moment later. The zero value is ready to use.
type arrivals struct {
	mu       sync.Mutex
	arriving map[policy.Key]int
	removing map[policy.Key]chan struct{} // closed at the end
}

// begin is called before the Dataplane of a proxy that comes is looked at, and waits while it is being removed. end is to be
// called when the proxy has a session, or is refused.
func (a *arrivals) begin(key policy.Key) (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.removing[key] != nil {
		busy := a.removing[key]
		a.mu.Unlock()
		<-busy
		a.mu.Lock()
	}
	if a.arriving == nil {
		a.arriving = map[policy.Key]int{}
	}
	a.arriving[key]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.arriving[key]--; a.arriving[key] == 0 {
			delete(a.arriving, key)
		}
	}
}

// remove calls do while no such proxy comes, and reports whether it did: one that is coming right now is not waited for.
func (a *arrivals) remove(key policy.Key, do func() error) (done bool, err error) {
	a.mu.Lock()
	if a.arriving[key] > 0 || a.removing[key] != nil {
		a.mu.Unlock()
		return false, nil
	}
	busy := make(chan struct{})
	if a.removing == nil {
		a.removing = map[policy.Key]chan struct{}{}
	}
	a.removing[key] = busy
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.removing, key)
		close(busy)
	}()
	return true, do()
}
