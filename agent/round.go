package agent

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// spread is the time over which the agents of a control plane that is gone come to the others. Nobody misses anything
// meanwhile: what they have is in memory.
const spread = 500 * time.Millisecond

// round goes through the control planes until one lets the proxy in. It belongs to one goroutine.
type round struct {
	all    []*controlPlane
	turn   int      // of the one to try next, and of the one that the proxy is with
	failed failures // the newest, of one round
	over   bool     // the next failure is the first of another round
}

// next is the control plane whose turn it is.
func (r *round) next() *controlPlane { return r.all[r.turn] }

// begin makes it the turn of cp in another round.
func (r *round) begin(cp *controlPlane) { r.turn, r.over = slices.Index(r.all, cp), true }

// fail notes why cp has not let the proxy in, or has let go of it, and makes it the next one's turn. It reports whether that
// one should be tried without a pause.
//
// After a refusal only one other is asked: the first may not know yet what is new, and a token that two do not want is bad.
// Who is superseded stays: somebody else has its name, wherever it goes.
func (r *round) fail(cp *controlPlane, err error) (more bool) {
	if r.over {
		r.failed, r.over = nil, false
	}
	r.failed = append(r.failed, failure{cp.address.Host, err})
	if len(r.all) == 1 || superseded(err) {
		r.over = true
		return false
	}
	r.turn = (slices.Index(r.all, cp) + 1) % len(r.all)
	refusals := 0
	for _, f := range r.failed {
		if refusal(f.err) {
			refusals++
		}
	}
	r.over = len(r.failed) >= len(r.all) || refusals > 1
	return !r.over
}

// err is why nobody has let the proxy in; nil if nobody was asked. It names the control planes if there are several.
func (r *round) err() error {
	switch {
	case len(r.failed) == 0:
		return nil
	case len(r.all) == 1:
		return r.failed[0].err
	}
	return r.failed
}

// failure is why a control plane did not let the proxy in, or let go of it.
type failure struct {
	address string // host and port
	err     error
}

// failures are those of a round, in order; at least one.
type failures []failure

func (f failures) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, one.address+": "+explain(one.err))
	}
	return strings.Join(lines, "; ")
}

// Unwrap is the refusal if there is one, which is an answer, and else what came last.
func (f failures) Unwrap() error {
	if i := slices.IndexFunc(f, func(one failure) bool { return refusal(one.err) }); i >= 0 {
		return f[i].err
	}
	return f[len(f)-1].err
}

// superseded reports whether another stream has taken the name of this one.
func superseded(err error) bool { return status.Code(err) == codes.AlreadyExists }

// refusal reports whether the control plane has judged this proxy or its token, and does not want it.
func refusal(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument:
		return true
	}
	return false
}
