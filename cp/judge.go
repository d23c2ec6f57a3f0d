package cp

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/mistake"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// Whoever was let in is judged again when something that let it in changes: the keys, the list of revoked tokens, the
// Dataplane, the constraints of the mesh, the end of the token. A session that would not be let in now is closed now.

// judgeTokens closes the sessions of a mesh, or of all for "", whose tokens would not be let in now.
func (r *reconciler) judgeTokens(mesh string) {
	r.mu.Lock()
	var sessions []*session
	for key, s := range r.sessions {
		if mesh == "" || key.Mesh == mesh {
			sessions = append(sessions, s)
		}
	}
	r.mu.Unlock()
	for _, s := range sessions {
		r.judgeToken(s)
	}
}

// judgeToken closes a session whose token would not be let in now, and reports whether it did.
func (r *reconciler) judgeToken(s *session) bool {
	err := r.keys.judge(s.claims, time.Now())
	if err != nil {
		_, err = refusal(err)
		s.end(err)
	}
	return err != nil
}

// judgeDataplane closes the session of a proxy, nil if it has none, whose Dataplane has become one that would not be let
// in.
func (r *reconciler) judgeDataplane(e store.Event, s *session) {
	d, ok := e.Resource.(*policy.Dataplane)
	if !ok {
		r.forget(e.Key)
	}
	switch {
	case s == nil:
	case !ok:
		s.end(status.Errorf(codes.NotFound, "%s has been deleted", e.Key))
	default:
		if err := s.claims.Admit(d); err != nil {
			_, err = refusal(err)
			s.end(err)
		}
	}
}

// judgeMembers closes the sessions of those that may not be in their mesh, and has their certificates withdrawn.
func (r *reconciler) judgeMembers(mesh string) {
	m := r.index.at(mesh)
	if r.ledger.Bar(mesh, m.barred) {
		r.withdrawals.Look(mesh)
	}
	for name := range m.barred {
		d := m.dataplanes[name]
		if s := r.connected(d.Key()); s != nil {
			_, err := refusal(m.newest().Admit(d))
			s.end(err)
		}
	}
}

// expire closes the session at the end of its token, if it has one. Where the clock was set back meanwhile, that is later.
func (s *session) expire() {
	if s.claims.ExpiresAt.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiry = time.AfterFunc(time.Until(s.claims.ExpiresAt), func() {
		if !s.reconciler.judgeToken(s) && s.ctx.Err() == nil {
			s.expire()
		}
	})
}

// checkMembership is the check of the constraints of a mesh.
const checkMembership = "membership"

// refusal is the check that failed, and the status that says so to the one who was refused.
func refusal(err error) (check string, _ error) {
	var r *token.Refusal
	var m *policy.NotMember
	switch {
	case errors.As(err, &m):
		return checkMembership, &refused{checkMembership, status.New(codes.PermissionDenied, m.Error())}
	case errors.As(err, &r):
		return string(r.Reason), &refused{string(r.Reason), toldOf(r, time.Now())}
	case status.Code(err) == codes.Unknown: // whoever was asked could not tell
		return "unavailable", status.Error(codes.Unavailable, err.Error())
	case status.Code(err) == codes.NotFound:
		return "no-dataplane", told(status.Convert(err), mistake.DataplaneMissing, nil).Err()
	}
	return "invalid", err
}
