package envoy

import (
	"bytes"
	"io"
	"strings"
)

// What a tail remembers at most.
const (
	tailLines = 8
	tailWidth = 512 // bytes of a line
)

// tail passes on what is written to it, and remembers the last lines that may say why Envoy ended. It never fails, so
// that Envoy never waits for a reader that has gone.
type tail struct {
	to    io.Writer // may be nil
	lines []string  // whole ones
	line  []byte    // the one that is not at its end
}

func (t *tail) Write(p []byte) (int, error) {
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		t.line = append(t.line, line[:min(len(line), tailWidth-len(t.line))]...)
		if ended {
			t.end()
		}
		rest = after
	}
	return len(p), nil
}

// end takes the line at hand for a whole one. The levels below warning say nothing of an end: a start alone has hundreds
// of such lines.
func (t *tail) end() {
	line := string(t.line)
	t.line = t.line[:0]
	for _, level := range []string{"][info][", "][debug][", "][trace]["} {
		if strings.Contains(line, level) {
			return
		}
	}
	if line == "" {
		return
	}
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// String is the last lines. It must not run beside Write.
func (t *tail) String() string {
	t.end()
	return strings.Join(t.lines, "\n")
}
