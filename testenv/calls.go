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
	Err  error         // why it was lost
}

// Calls are requests of a [Load], or of several.
type Calls []Call

// Between are the calls that began at one moment or later, and before another.
func (c Calls) Between(from, to time.Time) Calls {
	return slices.DeleteFunc(slices.Clone(c), func(call Call) bool { return call.Due.Before(from) || !call.Due.Before(to) })
}

// EndedBefore are the calls of which nothing happened at that moment or later.
func (c Calls) EndedBefore(t time.Time) Calls {
	return slices.DeleteFunc(slices.Clone(c), func(call Call) bool { return !call.Due.Add(call.Took).Before(t) })
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

// LostFrom is when the first call began of those at the end that were all lost. It is the zero time if the last one was
// not.
func (c Calls) LostFrom() (first time.Time) {
	for _, call := range slices.SortedFunc(slices.Values(c), func(a, b Call) int { return a.Due.Compare(b.Due) }) {
		switch {
		case call.Err == nil:
			first = time.Time{}
		case first.IsZero():
			first = call.Due
		}
	}
	return first
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
