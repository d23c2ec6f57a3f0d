package policy

import (
	"fmt"
	"slices"
	"time"
)

// Mesh is one trust domain: its name is the trust domain of every identity in it, and its certificate authority signs
// them all.
type Mesh struct {
	Meta
	// MTLS is nil, or names no enabled backend, while traffic in the mesh is plain.
	MTLS *MTLS `json:"mtls,omitempty"`
	// SkipCreatingInitialPolicies is accepted for those who have it in their files: nothing is created here that it
	// could prevent.
	SkipCreatingInitialPolicies []string `json:"skipCreatingInitialPolicies,omitempty"`
}

// MTLS says which certificate authority identities come from.
type MTLS struct {
	EnabledBackend string    `json:"enabledBackend,omitempty"`
	Backends       []Backend `json:"backends,omitempty"`
}

// The types of certificate authorities, and the modes of an inbound under mTLS.
const (
	BackendBuiltin = "builtin" // the control plane makes the CA and keeps it in the mesh's secrets

	ModeStrict = "STRICT" // mTLS or nothing; the default
)

// Backend is a certificate authority of a mesh.
type Backend struct {
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	Mode   string       `json:"mode,omitempty"` // "" is ModeStrict
	DPCert *DPCert      `json:"dpCert,omitempty"`
	Conf   *BackendConf `json:"conf,omitempty"`
}

// DPCert says how long the certificates of the data plane proxies live.
type DPCert struct {
	Rotation struct {
		Expiration Duration `json:"expiration"`
	} `json:"rotation"`
}

// BackendConf is the configuration of a builtin backend.
type BackendConf struct {
	CACert *CACert `json:"caCert,omitempty"`
}

// CACert says what CA certificate a builtin backend makes: EC P-256 unless RSABits is set, ten years unless Expiration
// is.
type CACert struct {
	RSABits    int      `json:"RSAbits,omitempty"`
	Expiration Duration `json:"expiration,omitempty"`
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

// The lifetimes that hold where a backend does not say.
const (
	DefaultLeafLife = 24 * time.Hour
	DefaultCALife   = 10 * 365 * 24 * time.Hour
)

// LeafLife is how long a certificate of this backend lives.
func (b *Backend) LeafLife() time.Duration {
	if b.DPCert == nil {
		return DefaultLeafLife
	}
	return b.DPCert.Rotation.Expiration.Std()
}

// CALife is how long a CA certificate that is made for this backend lives.
func (b *Backend) CALife() time.Duration {
	if b.Conf == nil || b.Conf.CACert == nil || b.Conf.CACert.Expiration == 0 {
		return DefaultCALife
	}
	return b.Conf.CACert.Expiration.Std()
}

// RSABits is the size of the RSA key that is made for this backend; 0 is EC P-256.
func (b *Backend) RSABits() int {
	if b.Conf == nil || b.Conf.CACert == nil {
		return 0
	}
	return b.Conf.CACert.RSABits
}

// The bounds of lifetimes: what a renewal has time for, and what can still be called short-lived.
const (
	minLife     = 10 * time.Second
	maxLeafLife = 90 * day
	maxCALife   = 100 * 365 * day
)

// The bounds of the size of an RSA key: below it is weak, above it is slow.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// Validate implements [Resource].
func (m *Mesh) Validate() error {
	var bad problems
	bad.checkMeta(&m.Meta, TypeMesh)
	if m.MTLS == nil {
		return bad.err()
	}
	backends := m.MTLS.Backends
	if len(backends) > 1 {
		bad.add("mtls.backends", "must have at most one element")
	}
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

func (p *problems) checkBackend(at, mesh string, b *Backend) {
	if err := ValidName(b.Name); err != nil {
		p.add(at+".name", "%v", err)
	} else if len(CACertName(mesh, b.Name)) > maxName {
		p.add(at+".name", "is too long to name the secrets of the CA with it")
	}
	if b.Type != BackendBuiltin {
		p.add(at+".type", "must be %s; no other is supported here", BackendBuiltin)
	}
	if b.Mode != "" && b.Mode != ModeStrict {
		p.add(at+".mode", "must be %s; nothing else is enforced here", ModeStrict)
	}
	leaf, ca := b.LeafLife(), b.CALife()
	leafAt := at + ".dpCert.rotation.expiration"
	if b.DPCert == nil {
		leafAt = at + ".conf.caCert.expiration" // the leaf has the default: it is the CA's life that is too short for it
	}
	if b.DPCert != nil && (leaf < minLife || leaf > maxLeafLife) {
		p.add(leafAt, "must be between %v and %v", Duration(minLife), Duration(maxLeafLife))
	}
	if ca < minLife || ca > maxCALife {
		p.add(at+".conf.caCert.expiration", "must be between %v and %v", Duration(minLife), Duration(maxCALife))
	}
	if leaf > ca {
		p.add(leafAt, "a certificate would live %v, longer than its CA, which lives %v", Duration(leaf), Duration(ca))
	}
	if bits := b.RSABits(); bits != 0 && (bits < minRSABits || bits > maxRSABits) {
		p.add(at+".conf.caCert.RSAbits", "must be between %d and %d", minRSABits, maxRSABits)
	}
}
