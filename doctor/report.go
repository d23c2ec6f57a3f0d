package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// Report is all that a doctor has found, in the order in which to read it.
type Report struct {
	Failed int     `json:"failed"` // how many have
	Checks []Check `json:"checks"`
}

// Add appends checks.
func (r *Report) Add(checks ...Check) {
	for _, c := range checks {
		if c.Result == Failed {
			r.Failed++
		}
		r.Checks = append(r.Checks, c)
	}
}

// Err is an error if a check has failed. It has no more to say than the report.
func (r *Report) Err() error {
	switch r.Failed {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 of %d checks failed", len(r.Checks))
	}
	return fmt.Errorf("%d of %d checks failed", r.Failed, len(r.Checks))
}

// Write writes a line for each check, and below it what to do.
func (r *Report) Write(w io.Writer) error {
	marks := map[Result]string{OK: "ok", Warning: "warn", Failed: "FAIL", NotChecked: "-"}
	wide := 0
	for _, c := range r.Checks {
		wide = max(wide, utf8.RuneCountInString(c.Name))
	}
	var out bytes.Buffer
	for _, c := range r.Checks {
		fmt.Fprintf(&out, "%-4s  %-*s  %s\n", marks[c.Result], wide, c.Name, c.Seen)
		label := "fix:"
		for _, n := range c.Next {
			fmt.Fprintf(&out, "      %-4s %s\n", label, n)
			label = ""
		}
		if c.Code != "" {
			fmt.Fprintf(&out, "      %s: kumactl explain %s\n", c.Code, c.Code)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// WriteJSON writes all of it as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
