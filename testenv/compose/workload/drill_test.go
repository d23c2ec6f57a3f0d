package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A drill is well where each request is answered, and the agent came in by as many tokens as it should.
func TestDrill(t *testing.T) {
	t.Parallel()
	backend := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	var out strings.Builder
	if err := drill(t.Context(), backend, agentReplacingTokens(t), 3, &out); err != nil {
		t.Error(err)
	}
	if want := "requests while the token was replaced 3 times: 0 lost, "; !strings.Contains(out.String(), want) {
		t.Errorf("it says %q, want %q in it", out.String(), want)
	}
}

// A request that is lost makes the drill fail, and is counted.
func TestDrillThatLoses(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	backend := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 20 {
			http.Error(w, "upstream connect error", http.StatusServiceUnavailable)
		}
	})
	var out strings.Builder
	err := drill(t.Context(), backend, agentReplacingTokens(t), 3, &out)
	if err == nil || !strings.Contains(err.Error(), "upstream connect error") {
		t.Errorf("error %v, want the answer that was no good", err)
	}
	if !strings.Contains(out.String(), ": 1 lost, ") {
		t.Errorf("it says %q, want 1 lost", out.String())
	}
}

// What is asked is answered with status and text, good or bad.
func TestAsk(t *testing.T) {
	t.Parallel()
	denied := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "RBAC: access denied", http.StatusForbidden)
	})
	var out strings.Builder
	if err := run(t.Context(), []string{"ask", denied}, &out); err != nil {
		t.Fatal(err)
	}
	if want := "403 RBAC: access denied\n"; out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
}

// agentReplacingTokens is the address of an agent that has come in by another token each time that it is asked.
func agentReplacingTokens(t *testing.T) string {
	var asked atomic.Int64
	return serving(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"controlPlane": {"connected": true}, "token": {"jti": "%d", "exp": "2030-01-01T00:00:00Z"}}`, asked.Add(1))
	})
}

func serving(t *testing.T, f http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
