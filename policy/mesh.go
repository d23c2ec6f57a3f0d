package policy

import (
	"fmt"
	"slices"
)

// Mesh is one trust domain: its name is the trust domain of every identity in it, and its certificate authority signs
// them all.
type Mesh struct {
	Meta
	// MTLS is nil, or names no enabled backend, while traffic in the mesh is plain.
	MTLS *MTLS `json:"mtls,omitempty"`
	// Constraints say who may be in the mesh; nil if everybody may.
	Constraints *Constraints `json:"constraints,omitempty"`
	// SkipCreatingInitialPolicies is accepted for those who have it in their files: nothing is created here that it
	// could prevent.
	SkipCreatingInitialPolicies []string `json:"skipCreatingInitialPolicies,omitempty"`
}

// MTLS says which certificate authority identities come from.
type MTLS struct {
	EnabledBackend string    `json:"enabledBackend,omitempty"`
	Backends       []Backend `json:"backends,omitempty"`
	// SkipValidation must be false: a CA that is not checked would take the mesh down when it is first used.
	SkipValidation bool `json:"skipValidation,omitempty"`
}

// Enabled is the backend that identities come from, nil while mTLS is off.
func (m *Mesh) Enabled() *Backend {
	if m.MTLS == nil || m.MTLS.EnabledBackend == "" {
		return nil
	}
	for i := range m.MTLS.Backends {
		if m.MTLS.Backends[i].Name == m.MTLS.EnabledBackend {
			return &m.MTLS.Backends[i]
		}
	}
	return nil // Validate refuses such a mesh
}

// Validate implements [Resource].
func (m *Mesh) Validate() error {
	var bad problems
	bad.checkMeta(&m.Meta, TypeMesh)
	bad.checkConstraints(m.Constraints)
	if m.MTLS == nil {
		return bad.err()
	}
	if m.MTLS.SkipValidation {
		bad.add("mtls.skipValidation", "must be false; what its checks refuse could not sign an identity that proxies accept")
	}
	backends := m.MTLS.Backends
	if on := m.MTLS.EnabledBackend; on != "" && !slices.ContainsFunc(backends, func(b Backend) bool { return b.Name == on }) {
		bad.add("mtls.enabledBackend", "%s is none of mtls.backends", quote(on))
	}
	seen := map[string]bool{}
	for i := range backends {
		at := fmt.Sprintf("mtls.backends[%d]", i)
		if seen[backends[i].Name] {
			bad.add(at+".name", "%s is the name of another backend too", quote(backends[i].Name))
		}
		seen[backends[i].Name] = true
		bad.checkBackend(at, m.Name, &backends[i])
	}
	return bad.err()
}
