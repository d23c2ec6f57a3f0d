package testenv_test

import (
	"fmt"
	"testing"
	"time"

	"koguma/testenv"
)

// serial is the serial number of the certificate that an inbound presents.
func serial(t *testing.T, address string) string {
	t.Helper()
	chain, err := testenv.ServerChain(t.Context(), address, "")
	if err != nil {
		t.Fatal(err)
	}
	return chain[0].SerialNumber.String()
}

// noneLost ends a load and fails the test if a request was lost, or fewer were sent than there should have been.
func noneLost(t *testing.T, l *testenv.Load, least int) {
	t.Helper()
	sent, slowest, lost := l.Stop()
	t.Logf("%d requests, the slowest took %v", sent, slowest)
	if len(lost) > 0 {
		t.Errorf("%d of %d requests were lost, the first: %v", len(lost), sent, lost[0])
	}
	if sent < least {
		t.Errorf("only %d requests were sent, want at least %d", sent, least)
	}
}

// A control plane that is killed and comes back is noticed by no request, and makes no certificate anew.
func TestControlPlaneKilled(t *testing.T) {
	t.Parallel()
	m, backend, web := pair(t, testenv.Options{})
	before := []string{serial(t, backend.In("backend")), serial(t, web.In("web"))}
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 200)
	sent := func(n int) {
		t.Helper()
		goal := load.Sent() + n
		eventually(t, 10*time.Second, "requests to be sent", func() error {
			if got := load.Sent(); got < goal {
				return fmt.Errorf("%d of %d", got, goal)
			}
			return nil
		})
	}
	sent(100)
	m.CP.Kill()
	sent(300)
	m.StartCP()
	eventually(t, 15*time.Second, "both proxies to be back", func() error {
		n, err := m.Metric("koguma_sessions")
		if err == nil && n != "2" {
			err = fmt.Errorf("%s are", n)
		}
		return err
	})
	m.Permit("web-to-backend", "web other", "backend") // which reaches them
	other := dialer{serverName: "other.backend.default", cert: m.Identity("default", "other")}
	eventually(t, 10*time.Second, "the change to arrive", func() error {
		if got := other.httpAnswer(t.Context(), backend.In("backend")); got != allowed {
			return fmt.Errorf("other gets %s", got)
		}
		return nil
	})
	sent(100)
	noneLost(t, load, 500)
	if after := []string{serial(t, backend.In("backend")), serial(t, web.In("web"))}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("the serials are %v, and were %v", after, before)
	}
	// The one is that of other, which holds none from before.
	if n, err := m.Metric("koguma_certificates_issued_total"); err != nil || n != "1" {
		t.Errorf("%s certificates were issued since, %v, want 1", n, err)
	}
}
