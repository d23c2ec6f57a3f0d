package cp

import (
	"slices"
	"sync"

	"koguma/gui"
)

// mostRefused is how many refusals are remembered.
const mostRefused = 100

// recentRefusals remembers the newest refusals that the log has a line for, which bounds how fast they come. The zero value is
// ready to use; nil remembers nothing.
type recentRefusals struct {
	mu  sync.Mutex
	all []gui.Refusal
}

func (r *recentRefusals) add(one gui.Refusal) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == mostRefused {
		r.all = slices.Delete(r.all, 0, 1)
	}
	r.all = append(r.all, one)
}

// newest are those, the newest first.
func (r *recentRefusals) newest() []gui.Refusal {
	all := []gui.Refusal{}
	if r == nil {
		return all
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all = append(all, r.all...)
	slices.Reverse(all)
	return all
}
