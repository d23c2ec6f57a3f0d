package cptest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// Log is a log that can be read while it is written.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Len is how much there is, in bytes.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Audited is the lines of the audit log since the log was that long, in bytes.
func (l *Log) Audited(since int) []string {
	var lines []string
	for line := range strings.SplitSeq(l.String()[since:], "\n") {
		if strings.Contains(line, "msg=audit") {
			lines = append(lines, line)
		}
	}
	return lines
}

// WantLine checks that a request has left one line, with all of these in it.
func WantLine(t *testing.T, lines []string, want ...string) {
	t.Helper()
	if len(lines) != 1 {
		t.Errorf("%d lines, want one with %q: %q", len(lines), want, lines)
		return
	}
	for _, w := range want {
		if !strings.Contains(lines[0]+" ", w+" ") {
			t.Errorf("no %q in %s", w, lines[0])
		}
	}
}
