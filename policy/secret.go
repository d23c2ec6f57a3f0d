package policy

import "fmt"

// Secret is something of a mesh that only administrators and the control plane may have.
type Secret struct {
	Meta
	Data Bytes `json:"data,omitempty"`
}

// GlobalSecret is a secret of the control planes themselves.
type GlobalSecret struct {
	Meta
	Data Bytes `json:"data,omitempty"`
}

// Bytes are secret bytes: base64 in JSON, and never printed or logged.
type Bytes []byte

// Format implements [fmt.Formatter]: whatever the verb, the content stays hidden.
func (b Bytes) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[%d secret bytes]", len(b)) }

// The names of secrets that the control plane itself reads and writes.

// SigningKeyPrefix is how the names of the keys that sign the data plane tokens of a mesh begin; a serial number
// follows.
func SigningKeyPrefix(mesh string) string { return "dataplane-token-signing-key-" + mesh + "-" }

// CACertName is the secret with the certificate of a builtin backend, in PEM.
func CACertName(mesh, backend string) string { return mesh + ".ca-builtin-cert-" + backend }

// CAKeyName is the secret with the private key of a builtin backend, in PEM.
func CAKeyName(mesh, backend string) string { return mesh + ".ca-builtin-key-" + backend }
