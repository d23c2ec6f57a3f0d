package cp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"koguma/cp/explain"
)

// ending is how the session has ended.
func (s *session) ending(left, out bool) explain.Ending {
	last := s.standing()
	e := explain.Ending{At: time.Now().UTC(), Left: left, Out: out, Standing: &last}
	cause := context.Cause(s.ctx)
	if st, ok := status.FromError(cause); ok && cause != nil && !left && !errors.Is(cause, context.Canceled) {
		e.Reason = withoutID(st.Message(), s.claims.ID)
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
