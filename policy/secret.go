package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// Secret is something of a mesh that only administrators and the control plane may have.
type Secret struct {
	Meta
	Data Bytes `json:"data,omitempty"`
}

// GlobalSecret is a secret of no mesh: one that the control planes themselves have, or that people keep there.
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
func SigningKeyPrefix(mesh string) string { return signingKey + mesh + "-" }

const signingKey = "dataplane-token-signing-key-"

// RevocationsName is the secret with the ids of the data plane tokens of a mesh that are no longer valid, separated by
// commas or white space.
func RevocationsName(mesh string) string { return revocations + mesh }

const revocations = "dataplane-token-revocations-"

// CACertName is the secret with the certificate of a builtin backend, in PEM.
func CACertName(mesh, backend string) string { return mesh + ".ca-builtin-cert-" + backend }

// CAKeyName is the secret with the private key of a builtin backend, in PEM.
func CAKeyName(mesh, backend string) string { return mesh + ".ca-builtin-key-" + backend }

// ProvidedKeyName is the secret with the private key of a backend that was given one in the Mesh itself, in PEM or as that
// type of backend takes it.
func ProvidedKeyName(mesh, backend string) string { return mesh + ".ca-provided-key-" + backend }

// Validate implements [Resource]. It looks at the name and not at what is inside.
func (s *Secret) Validate() error {
	var bad problems
	bad.checkMeta(&s.Meta, TypeSecret)
	bad.checkData(s.Data)
	switch {
	case strings.HasPrefix(s.Name, strings.TrimSuffix(signingKey, "-")):
		serial, ok := strings.CutPrefix(s.Name, SigningKeyPrefix(s.Mesh))
		if !ok || !isSerial(serial) {
			bad.add("name", "a signing key must be named %s and a serial number from 1 on, without leading zeros",
				SigningKeyPrefix(s.Mesh))
		}
	case strings.HasPrefix(s.Name, strings.TrimSuffix(revocations, "-")) && s.Name != RevocationsName(s.Mesh):
		bad.add("name", "nobody would read it: the list of revoked tokens of this mesh is named %s", RevocationsName(s.Mesh))
	}
	return bad.err()
}

// Validate implements [Resource].
func (s *GlobalSecret) Validate() error {
	var bad problems
	bad.checkMeta(&s.Meta, TypeGlobalSecret)
	bad.checkData(s.Data)
	for _, ofMesh := range [...]string{signingKey, revocations} {
		if strings.HasPrefix(s.Name, strings.TrimSuffix(ofMesh, "-")) {
			bad.add("name", "nobody would read it: signing keys and revoked tokens of a mesh are in its own secrets, of type Secret")
		}
	}
	return bad.err()
}

func (p *problems) checkData(data Bytes) {
	if len(data) == 0 {
		p.add("data", "must not be empty")
	}
}

// isSerial reports whether s is a whole number from 1 on in the one way to write it.
func isSerial(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && strconv.Itoa(n) == s
}
