package cp_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"koguma/cp"
	"koguma/mistake"
	"koguma/token"
)

// Who is refused is told the code of the mistake, and nothing with it that the message does not say.
func TestRefusalHasACode(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	for reason, code := range map[token.Reason]mistake.Code{
		token.ReasonMissing: mistake.TokenMissing, token.ReasonMalformed: mistake.TokenMalformed, token.ReasonAlgorithm: mistake.TokenMalformed,
		token.ReasonKey: mistake.TokenForeign, token.ReasonSignature: mistake.TokenForeign, token.ReasonExpired: mistake.TokenExpired,
		token.ReasonNotYetValid: mistake.ClocksDiffer, token.ReasonRevoked: mistake.TokenRevoked, token.ReasonMesh: mistake.TokenMesh,
		token.ReasonName: mistake.TokenName, token.ReasonTags: mistake.TokenTags, token.ReasonType: "", token.ReasonWorkload: "",
	} {
		s := cp.ToldOf(&token.Refusal{Reason: reason, Detail: "it is " + now.UTC().Format(time.RFC3339) + " now", Fix: "make another", ID: "canary"}, now)
		if code == "" {
			if len(s.Details()) > 0 {
				t.Errorf("%s has %v", reason, s.Details())
			}
			continue
		}
		if len(s.Details()) != 1 {
			t.Fatalf("%s has %v", reason, s.Details())
		}
		info, ok := s.Details()[0].(*errdetails.ErrorInfo)
		if !ok || info.GetReason() != string(code) || info.GetDomain() != mistake.Domain {
			t.Errorf("%s is told as %v, want %s", reason, info, code)
		}
		for key, value := range info.GetMetadata() {
			if !strings.Contains(s.Message(), value) {
				t.Errorf("%s: %s is %q, which the message %q does not say", reason, key, value, s.Message())
			}
		}
	}
}
