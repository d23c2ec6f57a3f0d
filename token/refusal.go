package token

import (
	"fmt"
	"strconv"
	"strings"

	"koguma/mistake"
	"koguma/policy"
)

// Refusal is why a token was not accepted, for people. It holds no text of the token, and nothing that the token claims
// unless its signature was good.
type Refusal struct {
	Reason Reason
	Detail string // which check failed
	Fix    string // what to do

	ID, KeyID string // of the token and of its key; empty unless its signature was good
}

// Error is one line.
func (r *Refusal) Error() string { return "token refused: " + r.Detail + "; " + r.Fix }

// Reason is the kind of a [Refusal], for metrics.
type Reason string

// The reasons.
const (
	ReasonMissing     Reason = "missing"
	ReasonMalformed   Reason = "malformed"
	ReasonAlgorithm   Reason = "algorithm"
	ReasonKey         Reason = "key"
	ReasonSignature   Reason = "signature"
	ReasonExpired     Reason = "expired"
	ReasonNotYetValid Reason = "not-yet-valid"
	ReasonRevoked     Reason = "revoked"
	ReasonMesh        Reason = "mesh"
	ReasonName        Reason = "name"
	ReasonTags        Reason = "tags"
	ReasonType        Reason = "type"
	ReasonWorkload    Reason = "workload"
)

// Boundary reports whether the token is genuine but not for this proxy (gRPC PermissionDenied). Otherwise it is not
// genuine, or no longer (Unauthenticated).
func (r Reason) Boundary() bool {
	switch r {
	case ReasonMesh, ReasonName, ReasonTags, ReasonType, ReasonWorkload:
		return true
	}
	return false
}

// Code is the mistake that people have made, "" if it is none of the catalogue.
func (r Reason) Code() mistake.Code {
	switch r {
	case ReasonMissing:
		return mistake.TokenMissing
	case ReasonMalformed, ReasonAlgorithm:
		return mistake.TokenMalformed
	case ReasonKey, ReasonSignature:
		return mistake.TokenForeign
	case ReasonExpired:
		return mistake.TokenExpired
	case ReasonNotYetValid:
		return mistake.ClocksDiffer
	case ReasonRevoked:
		return mistake.TokenRevoked
	case ReasonMesh:
		return mistake.TokenMesh
	case ReasonName:
		return mistake.TokenName
	case ReasonTags:
		return mistake.TokenTags
	}
	return ""
}

func malformed(detail string) *Refusal {
	return refuse(ReasonMalformed, "check that the token file holds one whole token and nothing else", "%s", detail)
}

// generate is the command that makes a fitting token; flags are given as they are.
func generate(mesh string, flags ...string) string {
	cmd := append([]string{"make a new one with kumactl generate dataplane-token --mesh", word(mesh)}, flags...)
	return strings.Join(append(cmd, "--valid-for 720h"), " ")
}

// anew is the command for when it is not known which proxy the token should be for.
func anew(mesh string) string {
	return generate(mesh, "--name", "NAME", "--tag", policy.TagService+"=SERVICE")
}

// word is s as one word of a shell, and in any case of one line.
func word(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-/=", c)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return strconv.Quote(s)
}

// genuine says of a refusal which token it is about: one whose signature was good.
func genuine(c Claims, r *Refusal) *Refusal {
	r.ID, r.KeyID = c.ID, c.KeyID
	return r
}

func refuse(r Reason, fix, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Detail: fmt.Sprintf(format, args...), Fix: fix}
}
