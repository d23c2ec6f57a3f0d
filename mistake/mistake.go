// Package mistake knows the mistakes that people make most often: each has a code of its own, a cause, and what to do next.
//
// The error is made where the mistake is seen, with [New], and with what is known there: the real mesh, the real file. A
// program prints [Explain] after the error it ends with, and what stays running logs [Attrs]. What holds for every case is
// in the [Catalogue], from which doc/errors is written too.
package mistake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code names a mistake. It never changes, and none is used twice.
type Code string

// Mistake is an error that people can mend. Its text is that of the error that it was made from. Make one with [New].
type Mistake struct {
	Code Code
	next []string
	err  error
}

// New says which mistake err comes from. Next are the commands that mend it here, with the real names in them and never a
// token; those for the general case are in the catalogue. A nil err stays nil, and one that has a code keeps it.
func New(code Code, err error, next ...string) error {
	if _, ok := Of(err); err == nil || ok {
		return err
	}
	return &Mistake{code, slices.DeleteFunc(next, func(s string) bool { return s == "" }), err}
}

// Say is an error with another text, and the mistake that err comes from if it is a known one.
func Say(err error, text string) error {
	said := errors.New(text)
	if m, ok := Of(err); ok {
		return &Mistake{m.Code, m.next, said}
	}
	return said
}

// Of is the mistake that an error comes from, if it is a known one.
func Of(err error) (*Mistake, bool) { return errors.AsType[*Mistake](err) }

// Error implements error.
func (m *Mistake) Error() string { return m.err.Error() }

// Unwrap is what the mistake was made from.
func (m *Mistake) Unwrap() error { return m.err }

// Cause is why such a thing happens.
func (m *Mistake) Cause() string { return m.entry().Cause }

// Next is what to do, in order: mostly commands.
func (m *Mistake) Next() []string {
	if len(m.next) > 0 {
		return m.next
	}
	return m.entry().Next
}

func (m *Mistake) entry() Entry {
	e, _ := Find(string(m.Code))
	return e
}

// Explain is what to print below an error: the cause, what to do next, and where there is more. It is "" for an error of
// which nothing is known, and else ends with a line break.
func Explain(err error) string {
	m, ok := Of(err)
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  cause: %s\n", m.Cause())
	label := "next:"
	for _, line := range m.Next() {
		fmt.Fprintf(&b, "  %-6s %s\n", label, line)
		label = ""
	}
	fmt.Fprintf(&b, "  %s: kumactl explain %[1]s, or doc/errors/%[1]s.md\n", m.Code)
	return b.String()
}

// Line is an error and what to do next, for where there is one line only.
func Line(err error) string {
	m, ok := Of(err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%s; %s: %s", err, m.Code, strings.Join(m.Next(), "; "))
}

// Attrs are the fields of a log line about an error: its code and what to do next; none if nothing is known of it.
func Attrs(err error) []any {
	m, ok := Of(err)
	if !ok {
		return nil
	}
	return []any{"code", string(m.Code), "next", strings.Join(m.Next(), "; ")}
}

// Entry is what holds for all cases of a mistake.
type Entry struct {
	Code  Code
	Title string   // what happened, without a full stop
	Cause string   // why, in a line
	More  []string // paragraphs: how to tell cases apart, and what else may help
	Next  []string // commands, with names in capitals where they differ from case to case
}

// Find is the entry with a code, in whatever case it is written.
func Find(code string) (Entry, bool) {
	all := Catalogue()
	i, ok := slices.BinarySearchFunc(all, Code(strings.ToUpper(code)), func(e Entry, c Code) int { return cmp.Compare(e.Code, c) })
	if !ok {
		return Entry{}, false
	}
	return all[i], true
}
