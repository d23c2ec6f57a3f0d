package agent

import (
	"fmt"
	"sync"
	"time"
)

// outage is why there is no stream to the control plane, for people who ask. The zero value is one of which nothing is
// known yet.
type outage struct {
	mu     sync.Mutex
	since  time.Time // the zero time while there is none
	reason string
}

// begin notes why there is no stream, which may be the same outage for another reason.
func (o *outage) begin(reason string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = now
	}
	o.reason = reason
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since, o.reason = time.Time{}, ""
}

// remarks are what there is to say of it, a line or none.
func (o *outage) remarks() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return nil
	}
	return []string{fmt.Sprintf("not connected to the control plane since %s: %s", at(o.since), o.reason)}
}
