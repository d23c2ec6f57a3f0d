package testenv_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// readiness is where an agent says whether it is ready, without the scheme.
func readiness(t *testing.T, s *testenv.Sidecar) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	found, err := s.AwaitOutput(ctx, regexp.MustCompile(`msg=readiness.* url=http://(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

// Two agents on one host choose ports of their own, and print them. Neither is ready before its Envoy has listeners,
// certificate and CA; and as soon as it is, its Envoy has.
func TestReadiness(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("to-a", "web", "a")
	m.Permit("to-b", "web", "b")
	web := dialer{cert: m.Identity("default", "web")}
	all := []*testenv.Sidecar{m.Prepare(testenv.Proxy{Serves: []string{"a"}}), m.Prepare(testenv.Proxy{Serves: []string{"b"}})}
	m.CP.Kill()
	urls := map[string]bool{}
	for _, s := range all {
		s.Launch()
		at := readiness(t, s)
		urls[at] = true
		status, body, err := testenv.Get(t.Context(), "http://"+at)
		if err != nil || status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "NOT_READY: ") {
			t.Errorf("%s without a control plane: %d %s, %v", s.Dataplane.Name, status, body, err)
		}
	}
	if len(urls) != len(all) {
		t.Errorf("the agents print %v", urls)
	}
	m.StartCP()
	for _, s := range all {
		service := s.Dataplane.Services()[0]
		eventually(t, 15*time.Second, service+" to be ready", func() error {
			status, body, err := testenv.Get(t.Context(), "http://"+readiness(t, s))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("it is %s", body)
			}
			return err
		})
		if got := web.httpAnswer(t.Context(), s.In(service)); got != allowed {
			t.Errorf("%s is ready, and a request gets %s", service, got)
		}
	}
}
