package policy

import "time"

// Moment is a time as people read it in messages, to the second.
func Moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
