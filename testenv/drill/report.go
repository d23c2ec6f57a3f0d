package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"koguma/testenv"
)

// event is something that has to happen in a phase, and soon.
type event int

const (
	tokenUsed    event = iota // the proxy came in by the new token in its file
	streamClosed              // whoever is withdrawn has no stream to the control plane
	newRefused                // it opens no connection to a peer
	openClosed                // it has none
	events                    // how many there are
)

// promised is how long each may take.
func promised() [events]time.Duration {
	return [events]time.Duration{
		tokenUsed: time.Second, streamClosed: time.Second, newRefused: time.Second, openClosed: drain + time.Second,
	}
}

// row is one phase, from the end of the one before.
type row struct {
	phase      string
	begin, end time.Time
	took       map[event]time.Duration // of what was measured

	// Of those who were not withdrawn.
	calls testenv.Calls // that began in it
	cut   int           // long TCP connections that were closed in it
}

// count counts what has ended by now.
func (d *drill) count(r *row) {
	r.calls, r.cut = nil, 0
	for _, p := range d.senders() {
		calls, cut := p.sent(r.begin, r.end)
		r.calls = append(r.calls, calls...)
		r.cut += cut
	}
}

// close ends a phase, and says what was lost in it.
func (d *drill) close(phase string, took map[event]time.Duration) string {
	r := row{phase: phase, begin: d.begun, end: time.Now(), took: took}
	if n := len(d.rows); n > 0 {
		r.begin = d.rows[n-1].end
	}
	d.count(&r)
	d.rows = append(d.rows, r)
	lost := r.calls.Lost()
	seen := fmt.Sprintf("%d requests in %.2f s, %d lost", len(r.calls), r.end.Sub(r.begin).Seconds(), len(lost))
	for i, err := range lost {
		if i == 5 {
			return seen + "\n    and more"
		}
		seen += "\n    " + err.Error()
	}
	return seen
}

const legend = `
Lost and cut count those who were not withdrawn. A revocation renews the filter chain that all instances of a service
share at its peers: their HTTP is drained without a loss, their long TCP connections are closed and have to be opened again.
`

// report ends what is sent, and writes the table. What should not have happened is the error.
func (d *drill) report(out io.Writer) error {
	for _, p := range d.senders() {
		p.hush()
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(w, "| "+strings.Join(cells, "\t| ")+"\t|") }
	line("phase", "requests", "lost", "TCP cut", "p50, p99, max ms", "new token used", "stream closed", "new refused", "open closed")
	line("---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:")
	var failed []error
	for _, row := range d.rows {
		d.count(&row) // again, for all that was sent has ended now
		lost := len(row.calls.Lost())
		if lost > 0 {
			failed = append(failed, fmt.Errorf("%s: %d requests were lost of those who were not withdrawn", row.phase, lost))
		}
		cells := []string{
			row.phase, fmt.Sprint(len(row.calls)), fmt.Sprint(lost), fmt.Sprint(row.cut),
			fmt.Sprintf("%.1f, %.1f, %.1f", ms(row.calls.Took(0.5)), ms(row.calls.Took(0.99)), ms(row.calls.Took(1))),
		}
		for e, within := range promised() {
			took, ok := row.took[event(e)]
			switch {
			case !ok:
				cells = append(cells, "–")
			case took <= within:
				cells = append(cells, fmt.Sprintf("%.2f ≤ %.0f s", took.Seconds(), within.Seconds()))
			default:
				cells = append(cells, fmt.Sprintf("%.2f > %.0f s", took.Seconds(), within.Seconds()))
				failed = append(failed, fmt.Errorf("%s: what was promised within %v took %v or more", row.phase, within, took))
			}
		}
		line(cells...)
	}
	failed = append(failed, w.Flush())
	_, err := fmt.Fprint(out, legend)
	return errors.Join(append(failed, err)...)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
