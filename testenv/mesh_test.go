package testenv_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// What a request through two proxies can come to.
const (
	allowed = "200"
	denied  = "403 RBAC: access denied"
	open    = "open"
	closed  = "connection closed"
)

// httpAnswer is what one request to an HTTP service comes to.
func httpAnswer(ctx context.Context, address string) string {
	status, body, err := testenv.Get(ctx, "http://"+address)
	switch {
	case err != nil:
		return closed
	case status == http.StatusOK:
		return allowed
	default:
		return fmt.Sprintf("%d %s", status, strings.TrimSpace(body))
	}
}

// tcpAnswer is what one connection to a TCP service comes to.
func tcpAnswer(_ context.Context, address string) string {
	if testenv.Echo(testenv.Dial(address)) != nil {
		return closed
	}
	return open
}

// settles waits until what is asked at an address has the answer that it should have, five times in a row.
func settles(t *testing.T, what, address, want string) {
	t.Helper()
	ask := httpAnswer
	if want == open || want == closed {
		ask = tcpAnswer
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	times := 0
	err := testenv.Eventually(ctx, fmt.Sprintf("%s to be %q", what, want), func() error {
		if got := ask(ctx, address); got != want {
			times = 0
			return fmt.Errorf("it is %q", got)
		}
		if times++; times < 5 {
			return fmt.Errorf("%d times only", times)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for f to return nil, for so long at most.
func eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := testenv.Eventually(ctx, what, f); err != nil {
		t.Fatal(err)
	}
}

// hold keeps a connection to a TCP service in use.
func hold(t *testing.T, address string) *testenv.Stream {
	t.Helper()
	s, err := testenv.OpenEcho(testenv.Dial(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// stream keeps a response of an HTTP service coming.
func stream(t *testing.T, address string) *testenv.Stream {
	t.Helper()
	s, err := testenv.OpenStream(t.Context(), "http://"+address+"/stream")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// isCut waits for a live connection to be closed, which must not take longer than the limit after begin. When it is asked
// does not matter: that may be long after.
func isCut(t *testing.T, whose string, s *testenv.Stream, begin time.Time, limit time.Duration) {
	t.Helper()
	patience := max(time.Until(begin.Add(limit)), 0) + 2*time.Second
	select {
	case at := <-s.Closed:
		if took := at.Sub(begin); took > limit {
			t.Errorf("%s was closed after %v, want at most %v", whose, took, limit)
		}
	case <-time.After(patience):
		t.Errorf("%s is still open %v after its permission was taken away", whose, time.Since(begin))
	}
}

// staysOpen watches live connections until the moment, up to which none may be closed.
func staysOpen(t *testing.T, until time.Time, streams map[string]*testenv.Stream) {
	t.Helper()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	<-timer.C
	for whose, s := range streams {
		select {
		case <-s.Closed:
			t.Errorf("%s was closed, and nothing was to disturb it", whose)
		default:
		}
	}
}
