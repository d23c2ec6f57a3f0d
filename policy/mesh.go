package policy

import "time"

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
