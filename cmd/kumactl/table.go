package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table is rows of cells under a header.
type table struct {
	header []string
	rows   [][]string
}

// write pads the columns with spaces, three at least.
func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{t.header}, t.rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// age is how long ago t was, in its largest whole unit.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	switch d := max(0, now.Sub(t)); { // a clock ahead of ours makes it less than zero
	case d < time.Minute:
		return count(d, time.Second, "s")
	case d < time.Hour:
		return count(d, time.Minute, "m")
	case d < day:
		return count(d, time.Hour, "h")
	case d < year:
		return count(d, day, "d")
	default:
		return count(d, year, "y")
	}
}

func count(d, unit time.Duration, name string) string { return strconv.Itoa(int(d/unit)) + name }

// date is a moment as tables show it, in UTC.
func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// printable is s with everything escaped that a terminal would obey instead of show. Names come from people whom the
// reader need not trust.
func printable(s string) string { return escape(s, "") }

// printableText is [printable] for text of several lines.
func printableText(s string) string { return escape(s, "\n") }

func escape(s, keep string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) || strings.ContainsRune(keep, r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r) // '\x1b'
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
