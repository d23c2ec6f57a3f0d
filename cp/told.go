package cp

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/mistake"
	"koguma/token"
)

// toldOf is how a proxy is told why its token was refused: the message is for people, and what is with it for an agent that
// explains it to them. Nothing is with it that the message does not say.
func toldOf(r *token.Refusal, now time.Time) *status.Status {
	code := codes.Unauthenticated
	if r.Reason.Boundary() {
		code = codes.PermissionDenied
	}
	meta := map[string]string{mistake.MetaFix: r.Fix}
	if r.Reason == token.ReasonExpired || r.Reason == token.ReasonNotYetValid {
		meta[mistake.MetaTime] = now.UTC().Format(time.RFC3339)
	}
	return told(status.New(code, r.Error()), r.Reason.Code(), meta)
}

// told is a status with the code of a mistake, if there is one.
func told(s *status.Status, code mistake.Code, meta map[string]string) *status.Status {
	if code == "" {
		return s
	}
	with, err := s.WithDetails(&errdetails.ErrorInfo{Reason: string(code), Domain: mistake.Domain, Metadata: meta})
	if err != nil {
		return s // the message says it too
	}
	return with
}
