package testenv

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Call is one request of a [Load].
type Call struct {
	Due  time.Time     // when it was to begin, and did
	Took time.Duration // from then to its end
	Kept bool          // over a connection that stays open, rather than a new one
	Err  error         // why it was lost
}

// Calls are requests of a [Load], or of several.
type Calls []Call

// Between are the calls that began at one moment or later, and before another.
func (c Calls) Between(from, to time.Time) Calls {
	return c.where(func(c Call) bool { return !c.Due.Before(from) && c.Due.Before(to) })
}

// Over are the calls over connections that stay open, or those over new ones.
func (c Calls) Over(kept bool) Calls { return c.where(func(c Call) bool { return c.Kept == kept }) }

func (c Calls) where(f func(Call) bool) Calls {
	return slices.DeleteFunc(slices.Clone(c), func(call Call) bool { return !f(call) })
}

// Lost has an error for each call that did not get its answer, with the time at which it began.
func (c Calls) Lost() (lost []error) {
	for _, call := range c {
		if call.Err != nil {
			lost = append(lost, fmt.Errorf("%s: %w", call.Due.Format(time.StampMilli), call.Err))
		}
	}
	return lost
}

// LastGood is when the last call began that got its answer, the zero time if none did.
func (c Calls) LastGood() (last time.Time) {
	for _, call := range c {
		if call.Err == nil && call.Due.After(last) {
			last = call.Due
		}
	}
	return last
}

// Took is the time that is not exceeded by the part q of the calls, 0 if there are none.
func (c Calls) Took(q float64) time.Duration {
	if len(c) == 0 {
		return 0
	}
	all := make([]time.Duration, len(c))
	for i, call := range c {
		all[i] = call.Took
	}
	slices.Sort(all)
	return all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
}
