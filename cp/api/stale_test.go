package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/store"
)

// outOfOrder is a store that may be away.
type outOfOrder struct {
	store.Store
	fault atomic.Pointer[store.Outage]
}

func (s *outOfOrder) Fault() error {
	if o := s.fault.Load(); o != nil {
		return o
	}
	return nil
}

// While the store is away, whoever reads is told that this may be old, and how old. Why it is away is not for everybody, and who
// writes is told by the answer.
func TestReadsOfAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	over := &outOfOrder{Store: store.NewMemory()}
	s := newServerOver(t, over)
	warnings := func(method, path string, status int) []string {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "http://localhost:5681"+path, nil)
		r.RemoteAddr = "127.0.0.1:1234"
		s.handler.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s %s: status %d, want %d", method, path, w.Code, status)
		}
		return w.Header().Values("Koguma-Warning")
	}
	if got := warnings("GET", "/meshes/default", http.StatusOK); len(got) > 0 {
		t.Errorf("while the store is there: %q", got)
	}

	for since, want := range map[time.Time]string{
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)): " at 2026-01-02T02:04:05Z",
		{}: "",
	} {
		over.fault.Store(&store.Outage{AsOf: since, Err: fmt.Errorf("postgres db.internal: %w", errors.New("no route to host"))})
		told := []string{"the store does not answer, or takes no changes; this is what was in it" + want}
		for _, read := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/meshes/default", http.StatusOK},
			{"HEAD", "/meshes", http.StatusOK},
			{"GET", "/meshes/default/dataplanes/_overview", http.StatusOK},
			{"GET", "/meshes/other", http.StatusNotFound},
		} {
			if diff := cmp.Diff(told, warnings(read.method, read.path, read.status)); diff != "" {
				t.Errorf("%s %s: %s", read.method, read.path, diff)
			}
		}
		if got := warnings("DELETE", "/meshes/other", http.StatusNotFound); len(got) > 0 {
			t.Errorf("a DELETE: %q", got)
		}
	}
	over.fault.Store(nil)
	if got := warnings("GET", "/meshes/default", http.StatusOK); len(got) > 0 {
		t.Errorf("when the store is back: %q", got)
	}
}
