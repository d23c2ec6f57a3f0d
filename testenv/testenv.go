// Package testenv has what it takes to run a whole mesh on one machine and to look at it from outside: the built
// programs as processes, small workloads, and the questions that a test, the demo and the load program ask of them.
//
// Whatever is started here is stopped by the one who started it; nothing here outlives its Stop, Kill or Close.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Eventually calls f every 10 ms until it returns nil. When ctx is done first, the error says what was waited for, and
// what f said last.
func Eventually(ctx context.Context, what string, f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-tick.C:
		}
	}
}

// Loopback is one of the machine's own addresses, drawn by lot. Ports that are free there stay free for long enough to be
// used: nobody else draws the same, and connections that go out do not begin there.
func Loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 128+rand.N(127), rand.N(256), 1+rand.N(254))
}

// FreePorts are n different TCP ports of an address that the kernel chose, with nobody listening at this moment.
func FreePorts(address string, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before all are chosen: the kernel may choose a port again
		ports[i] = port(l)
	}
	return ports, nil
}

func port(l net.Listener) int {
	return int(netip.MustParseAddrPort(l.Addr().String()).Port())
}
