package cp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"koguma/cp"
)

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	var down error
	h := cp.NewDiagnostics(func() error { return down }, nil, http.NotFoundHandler())
	get := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	if a, b, c := get("/healthy"), get("/ready"), get("/metrics"); a != 200 || b != 200 || c != 404 {
		t.Errorf("up: %d %d %d", a, b, c)
	}
	down = errors.New("starting")
	if a, b := get("/healthy"), get("/ready"); a != 200 || b != 503 {
		t.Errorf("down: %d %d", a, b)
	}
}
