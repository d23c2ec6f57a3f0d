package agent_test

import (
	"testing"
	"time"

	"koguma/agent"
)

// The less is left of a certificate, the sooner the control plane is tried again, but never much more than once a second.
func TestPauseBeforeTheEndOfACertificate(t *testing.T) {
	t.Parallel()
	const longest = 9 * time.Second
	for _, c := range []struct{ pause, left, least, most time.Duration }{
		{longest, 24 * time.Hour, longest, longest},
		{longest, 3 * time.Minute, longest, longest},
		{longest, 30 * time.Second, 1500 * time.Millisecond, 4500 * time.Millisecond},
		{longest, 6 * time.Second, 500 * time.Millisecond, 1500 * time.Millisecond},
		{longest, time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond},
		{100 * time.Millisecond, 6 * time.Second, 100 * time.Millisecond, 100 * time.Millisecond},
		{longest, 0, longest, longest},
		{longest, -time.Hour, longest, longest},
	} {
		for range 100 {
			if got := agent.Hurry(c.pause, c.left); got < c.least || got > c.most {
				t.Fatalf("a pause of %v with %v left becomes %v, want %v to %v", c.pause, c.left, got, c.least, c.most)
			}
		}
	}
}
