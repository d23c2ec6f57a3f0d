package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The code of 'kuma-dp ready' is the agent's answer, and what it prints is the reason.
func TestReady(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tt := range []struct {
		name       string
		address    string
		code       int
		out, error string
	}{
		{"ready", agentSaying(t, http.StatusOK, "READY\n"), 0, "READY\n", ""},
		{"not ready", agentSaying(t, http.StatusServiceUnavailable, "NOT_READY: why\n"), 1, "", "kuma-dp: NOT_READY: why\n"},
		{"nobody there", gone.Listener.Addr().String(), 1, "", "refused; is kuma-dp running, and with this --readiness-port?\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, port, err := net.SplitHostPort(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			var stdout, stderr strings.Builder
			code := execute(t.Context(), []string{"ready", "--readiness-port", port}, nil, &stdout, &stderr)
			if code != tt.code || stdout.String() != tt.out || !strings.HasSuffix(stderr.String(), tt.error) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

// agentSaying is the address of an agent with this answer at /ready.
func agentSaying(t *testing.T, code int, text string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, text)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
