package explain

import (
	"time"

	"koguma/policy"
)

// Ending is how the last session of a proxy has ended. The zero value is that of one that never had any.
type Ending struct {
	At        time.Time
	Left, Out bool      // it meant to; it was put out
	Reason    string    // "" if the stream just broke
	Standing  *Standing // of the proxy until then
}

// lost reports whether nobody knows what became of the proxy.
func (e Ending) lost() bool { return !e.At.IsZero() && !e.Left && !e.Out }

// String says how it was, for people.
func (e Ending) String() string {
	switch {
	case e.At.IsZero():
		return "it has not been connected since this control plane started"
	case e.Left:
		return "it left in good order at " + policy.Moment(e.At)
	case e.Reason != "":
		return "its stream was closed at " + policy.Moment(e.At) + ": " + e.Reason
	}
	return "its stream broke at " + policy.Moment(e.At)
}

// Absent is a proxy that is not connected.
func (e Ending) Absent(name string) policy.AbsentProxy {
	return policy.AbsentProxy{Proxy: name, Why: e.String(), Since: e.At, Lost: e.lost()}
}
