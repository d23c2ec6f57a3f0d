package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"koguma/testenv"
)

// Promise is something that has to happen in some of the phases, and how long it may take.
type Promise struct {
	What   string // the head of its column
	Within time.Duration
}

// Event is the index of a [Promise].
type Event int

// Counter is something that only grows, and that is shown beside what is lost.
type Counter struct {
	Head  string
	Count func(context.Context) (int, error)
	Never bool // it may not grow
}

// Record is what was seen of a mesh that is under load, phase by phase.
type Record struct {
	Mesh     *Mesh
	Promises []Promise
	Counters []Counter
	Unbroken bool   // no long TCP connection may be cut
	Legend   string // below the table

	begun  time.Time // since when they send
	counts []int     // of the counters, when the last phase ended
	rows   []row     // the phases so far
}

// row is one phase, from the end of the one before.
type row struct {
	phase      string
	begin, end time.Time
	took       map[Event]time.Duration // of what was measured
	counts     []int                   // by how much the counters grew

	// Of those who were not withdrawn.
	calls testenv.Calls // that began in it
	cut   int           // long TCP connections that were closed in it
}

// Run takes the steps and reports, also when one of them fails. What should not have happened is the error.
func (r *Record) Run(ctx context.Context, limit time.Duration, steps []testenv.Step) error {
	err := testenv.Show(ctx, os.Stdout, limit, steps)
	if len(r.rows) == 0 {
		return err
	}
	if err != nil { // what was lost counts all the same
		_, unclosed := r.Close(ctx, "what came to no end", nil)
		err = errors.Join(err, unclosed)
	}
	fmt.Println()
	return errors.Join(err, r.report(os.Stdout))
}

// Begin begins the first phase, and has the senders send.
func (r *Record) Begin(ctx context.Context) (seen string, err error) {
	if r.counts, err = r.grown(ctx); err != nil {
		return "", err
	}
	var all Load
	r.begun = time.Now()
	for _, p := range r.Mesh.Senders() {
		p.send(context.WithoutCancel(ctx)) // it outlives this step
		all.HTTP, all.Echo, all.Streams = all.HTTP+p.Sends.HTTP, all.Echo+p.Sends.Echo, all.Streams+p.Sends.Streams
	}
	return fmt.Sprintf("%d requests a second: %d over HTTP connections that stay, %d over new ones, %d over new TCP ones; %d long TCP connections",
		all.HTTP+all.Echo, all.HTTP/2, all.HTTP/2, all.Echo, all.Streams), nil
}

func (r *Record) grown(ctx context.Context) ([]int, error) {
	counts := make([]int, len(r.Counters))
	for i, c := range r.Counters {
		var err error
		if counts[i], err = c.Count(ctx); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// Close ends a phase, and says what was lost in it. took is what was measured of that which was promised.
func (r *Record) Close(ctx context.Context, phase string, took map[Event]time.Duration) (seen string, err error) {
	now := row{phase: phase, begin: r.begun, end: time.Now(), took: took}
	if n := len(r.rows); n > 0 {
		now.begin = r.rows[n-1].end
	}
	before := r.counts
	if r.counts, err = r.grown(ctx); err != nil {
		return "", err
	}
	for i, count := range r.counts {
		now.counts = append(now.counts, count-before[i])
	}
	r.count(&now)
	r.rows = append(r.rows, now)
	lost := now.calls.Lost()
	seen = fmt.Sprintf("%d requests in %.2f s, %d lost", len(now.calls), now.end.Sub(now.begin).Seconds(), len(lost))
	for i, err := range lost {
		if i == 5 {
			return seen + "\n    and more", nil
		}
		seen += "\n    " + err.Error()
	}
	return seen, nil
}

// count counts what has ended by now.
func (r *Record) count(row *row) {
	row.calls, row.cut = nil, 0
	for _, p := range r.Mesh.Senders() {
		calls, cut := p.sent(row.begin, row.end)
		row.calls = append(row.calls, calls...)
		row.cut += cut
	}
}

// report ends what is sent, and writes the table. What should not have happened is the error.
func (r *Record) report(out io.Writer) error {
	for _, p := range r.Mesh.Senders() {
		p.Hush()
	}
	heads, align := []string{"phase", "requests", "lost", "TCP cut"}, "---"
	for _, c := range r.Counters {
		heads = append(heads, c.Head)
	}
	heads = append(heads, "p50, p99, max ms")
	for _, p := range r.Promises {
		heads = append(heads, p.What)
	}
	aligned := []string{align}
	for range heads[1:] {
		aligned = append(aligned, align+":")
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	line := func(cells []string) { fmt.Fprintln(w, "| "+strings.Join(cells, "\t| ")+"\t|") }
	line(heads)
	line(aligned)
	var failed []error
	for _, row := range r.rows {
		r.count(&row) // again, for all that was sent has ended now
		line(r.cells(&row))
		failed = append(failed, r.judge(&row)...)
	}
	failed = append(failed, w.Flush())
	_, err := fmt.Fprint(out, r.Legend)
	return errors.Join(append(failed, err)...)
}

// cells are a line of the table.
func (r *Record) cells(row *row) []string {
	cells := []string{row.phase, fmt.Sprint(len(row.calls)), fmt.Sprint(len(row.calls.Lost())), fmt.Sprint(row.cut)}
	for _, n := range row.counts {
		cells = append(cells, fmt.Sprint(n))
	}
	cells = append(cells, fmt.Sprintf("%.1f, %.1f, %.1f", ms(row.calls.Took(0.5)), ms(row.calls.Took(0.99)), ms(row.calls.Took(1))))
	for e, p := range r.Promises {
		took, ok := row.took[Event(e)]
		switch {
		case !ok:
			cells = append(cells, "–")
		case took <= p.Within:
			cells = append(cells, fmt.Sprintf("%.2f ≤ %g s", took.Seconds(), p.Within.Seconds()))
		default:
			cells = append(cells, fmt.Sprintf("%.2f > %g s", took.Seconds(), p.Within.Seconds()))
		}
	}
	return cells
}

// judge is what should not have happened in a phase.
func (r *Record) judge(row *row) (failed []error) {
	if lost := len(row.calls.Lost()); lost > 0 {
		failed = append(failed, fmt.Errorf("%s: %d requests were lost that should not have been", row.phase, lost))
	}
	if r.Unbroken && row.cut > 0 {
		failed = append(failed, fmt.Errorf("%s: %d long TCP connections were cut", row.phase, row.cut))
	}
	for i, c := range r.Counters {
		if c.Never && row.counts[i] > 0 {
			failed = append(failed, fmt.Errorf("%s: %s: %d", row.phase, c.Head, row.counts[i]))
		}
	}
	for e, p := range r.Promises {
		if took := row.took[Event(e)]; took > p.Within {
			failed = append(failed, fmt.Errorf("%s: what was promised within %v took %v or more", row.phase, p.Within, took))
		}
	}
	return failed
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Pause waits for so long.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
