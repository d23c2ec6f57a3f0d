package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// turn is a control plane whose mesh goes to ca-2, one stage further each time that it is looked at, up to the last.
func turn(last int) http.HandlerFunc {
	stages := []string{
		`"stage":"settled","enabled":"ca-1","issuing":"ca-1","authorities":[{"backend":"ca-1","issuing":true}],"waitsFor":[]`,
		`"stage":"trust-both","enabled":"ca-2","from":"ca-1","issuing":"ca-1","authorities":[{"backend":"ca-1","issuing":true},{"backend":"ca-2"}],"waitsFor":[{"proxy":"web-2","why":"not connected since 14:03; its certificate of ca-1 ends 14:41"}]`,
		`"stage":"issue","enabled":"ca-2","from":"ca-1","issuing":"ca-2","authorities":[{"backend":"ca-1"},{"backend":"ca-2","issuing":true}],"waitsFor":[]`,
		`"stage":"drop","enabled":"ca-2","from":"ca-1","issuing":"ca-2","authorities":[{"backend":"ca-2","issuing":true}],"waitsFor":[]`,
		`"stage":"settled","enabled":"ca-2","issuing":"ca-2","authorities":[{"backend":"ca-2","issuing":true}],"waitsFor":[]`,
	}
	var looks atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		i := 0
		if r.Method == http.MethodGet {
			i = min(int(looks.Add(1))-1, last)
		}
		fmt.Fprintf(w, `{"mesh":"default","since":"2026-01-01T14:03:10Z",%s}`, stages[i])
	}
}

// --wait shows each stage as it is reached, and whom it waits for.
func TestRotateCAWait(t *testing.T) {
	t.Parallel()
	got := kumactl(t, serveFunc(t, turn(4)), strings.Fields("rotate ca --to ca-2 --wait")...)
	want := `14:03:10  trust-both: ca-1 and ca-2 are trusted; ca-1 signs
          waits for web-2: not connected since 14:03; its certificate of ca-1 ends 14:41
14:03:10  issue: ca-2 signs; ca-1 is trusted while certificates of it are in use
14:03:10  drop: only ca-2 is trusted; it is waited until every proxy has taken that
14:03:10  settled: ca-2 signs, and nothing else is trusted
`
	if got.code != 0 || got.stdout != want {
		t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// Where the time is up, exit code 1 and the names of those who are waited for.
func TestRotateCATimeout(t *testing.T) {
	t.Parallel()
	got := kumactl(t, serveFunc(t, turn(1)), strings.Fields("rotate ca --to ca-2 --wait --timeout 1ms")...)
	if got.code != 1 || !strings.Contains(got.stderr, "is in stage trust-both, and waits for\n* web-2: not connected since 14:03;") || !strings.Contains(got.stderr, "--abort goes back") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
}
