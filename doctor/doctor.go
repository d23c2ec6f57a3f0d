// Package doctor is what the doctors of the commands have in common: what a check has found, how all of it is told, and
// how to look at addresses, clocks and ports from here, and whether a program of ours is ready.
//
// A doctor changes nothing. Whatever is looked at may be somebody else's, or in use.
package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"koguma/mistake"
)

// Result is what became of a check.
type Result string

// The results. Only Failed is a reason to fail.
const (
	OK         Result = "ok"
	Warning    Result = "warning"
	Failed     Result = "failed"
	NotChecked Result = "not checked"
)

// Check is one thing that was looked at. Each of its texts is one line.
type Check struct {
	Name   string       `json:"name"` // what was looked at
	Result Result       `json:"result"`
	Seen   string       `json:"seen"`           // what was found, or why nothing was looked for
	Next   []string     `json:"next,omitempty"` // what to do
	Code   mistake.Code `json:"code,omitempty"`
}

// Good is a check that found nothing to mend.
func Good(name, seen string, args ...any) Check { return found(name, OK, seen, args) }

// Doubt is a check that found what may be meant so; see [Check.Fix].
func Doubt(name, seen string, args ...any) Check { return found(name, Warning, seen, args) }

// Bad is a check that found what has to be mended, and is none of the mistakes that have a code; see [Check.Fix].
func Bad(name, seen string, args ...any) Check { return found(name, Failed, seen, args) }

// Mistaken is a check that failed by a mistake. The code and the advice that err brings along go before those that are given, and
// where none is given there is that of the code.
func Mistaken(name string, code mistake.Code, err error, next ...string) Check {
	m, _ := mistake.Of(mistake.New(code, err, next...))
	c := found(name, Failed, m.Error(), nil).Fix(m.Next()...)
	c.Code = m.Code
	return c
}

// Skip is a check that could not be made, and why.
func Skip(name, why string, args ...any) Check { return found(name, NotChecked, why, args) }

func found(name string, r Result, seen string, args []any) Check {
	if len(args) > 0 {
		seen = fmt.Sprintf(seen, args...)
	}
	return Check{Name: line(name), Result: r, Seen: line(seen)}
}

// Fix is the check with what to do.
func (c Check) Fix(next ...string) Check {
	for _, n := range next {
		c.Next = append(c.Next, line(n))
	}
	return c
}

// most is the longest that a line gets: what others say ends up in it.
const most = 1000

// line is s as one line, with everything escaped that a terminal would obey instead of show.
func line(s string) string {
	var b strings.Builder
	for _, r := range strings.TrimSpace(s) {
		switch {
		case b.Len() > most:
			return b.String() + "..."
		case r == '\n':
			b.WriteString("; ")
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r) // '\x1b'
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
