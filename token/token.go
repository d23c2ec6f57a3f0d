// Package token makes and judges data plane tokens: JWTs by which a proxy proves which mesh, name and tags it may have.
//
// [Verifier.Verify] says whether a token is genuine, [Claims.Admit] whether a Dataplane is within its bounds; both must
// agree before a proxy is served. What cannot be read or enforced is a [Refusal], never a default: the text is decoded
// strictly here, and only the signature is left to golang-jwt.
//
// A proxy has its token from a [Source], which follows the file that it is in.
//
// A token is a secret. [Raw] hides it from logs and JSON, and no error of this package has any of its text.
package token

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Raw is the text of a token. It prints, logs and marshals as "[token]"; string(r) is for the wire only. It cannot
// protect itself in an unexported field of a struct that is printed, nor as the key of a map that becomes JSON.
type Raw string

const redacted = "[token]"

// String implements [fmt.Stringer].
func (Raw) String() string { return redacted }

// Format implements [fmt.Formatter]: whatever the verb, the text stays hidden.
func (Raw) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer].
func (Raw) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Raw) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// The types of proxy that a token is for. None at all is TypeDataplane.
const (
	TypeDataplane = "dataplane"
	TypeIngress   = "ingress"
	TypeEgress    = "egress"
)

// Claims is what a token says. Empty bounds bind nothing, but for Mesh, which every token has.
type Claims struct {
	Name     string              // the one Dataplane it is for
	Mesh     string              // required
	Tags     map[string][]string // for each tag, the values that an inbound may have; it must have one of them
	Type     string
	Workload string // a bound that nothing here enforces: such a token is refused
	ID       string // "jti"; for a token without one that can be revoked, the hex SHA-256 of its text
	Pin      string // of the control plane's CA, as certs.Pin has it
	KeyID    string // of the key that its signature was verified with; only Verify sets it
	KeySum   string // SHA-256 of that key, so that another by its id is told from it; only Verify sets it

	IssuedAt, NotBefore time.Time // zero: not said
	ExpiresAt           time.Time // required; the token is valid before it
}
