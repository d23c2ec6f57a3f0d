package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A control plane that is not ready is an error with its own words, and nothing is written.
func TestNotReady(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not ready: the store is away, asked by "+r.URL.Path, http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	var out strings.Builder
	err := ready(t.Context(), s.Listener.Addr().String(), &out)
	if want := "not ready: the store is away, asked by /ready"; err == nil || err.Error() != want || out.Len() > 0 {
		t.Errorf("error %v, want %s; written: %q", err, want, out.String())
	}
}
