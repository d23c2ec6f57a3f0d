package cp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"koguma/policy"
)

// ending is how the last session of a proxy has ended. The zero value is that of one that never had any.
type ending struct {
	at        time.Time
	left, out bool      // it meant to; it was put out
	reason    string    // "" if the stream just broke
	standing  *standing // of the proxy until then
}

// ending is how the session has ended.
func (s *session) ending(left, out bool) ending {
	last := s.standing()
	e := ending{at: time.Now().UTC(), left: left, out: out, standing: &last}
	cause := context.Cause(s.ctx)
	if st, ok := status.FromError(cause); ok && cause != nil && !left && !errors.Is(cause, context.Canceled) {
		e.reason = withoutID(st.Message(), s.claims.ID)
	}
	return e
}

// withoutID is a reason without the id of a token, which is for administrators.
func withoutID(reason, id string) string {
	if id == "" {
		return reason
	}
	return strings.ReplaceAll(strings.ReplaceAll(reason, fmt.Sprintf(" (id %q)", id), ""), id, "...")
}

// lost reports whether nobody knows what became of the proxy.
func (e ending) lost() bool { return !e.at.IsZero() && !e.left && !e.out }

// String says how it was, for people.
func (e ending) String() string {
	switch {
	case e.at.IsZero():
		return "it has not been connected since this control plane started"
	case e.left:
		return "it left in good order at " + policy.Moment(e.at)
	case e.reason != "":
		return "its stream was closed at " + policy.Moment(e.at) + ": " + e.reason
	}
	return "its stream broke at " + policy.Moment(e.at)
}

// absent is a proxy that is not connected.
func (e ending) absent(name string) policy.AbsentProxy {
	return policy.AbsentProxy{Proxy: name, Why: e.String(), Since: e.at, Lost: e.lost()}
}
