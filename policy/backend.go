package policy

import "time"

// The types of certificate authorities that are built in. There may be more: package authority knows them.
const (
	BackendBuiltin  = "builtin"  // the control plane makes the CA and keeps it in the mesh's secrets
	BackendProvided = "provided" // the operator gives certificate and key
)

// The modes of an inbound under mTLS.
const (
	ModeStrict     = "STRICT"     // mTLS or nothing; the default
	ModePermissive = "PERMISSIVE" // plaintext as well
)

// Backend is a certificate authority of a mesh.
type Backend struct {
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Mode      string     `json:"mode,omitempty"` // "" is ModeStrict
	DPCert    *DPCert    `json:"dpCert,omitempty"`
	RootChain *RootChain `json:"rootChain,omitempty"`
	// Conf is for the type to understand. Validate does not look into it.
	Conf Document `json:"conf,omitempty"`
}

// DPCert says how long the certificates of the data plane proxies live, and how long the making of one may take.
type DPCert struct {
	Rotation struct {
		Expiration Duration `json:"expiration"`
	} `json:"rotation"`
	RequestTimeout Duration `json:"requestTimeout,omitempty"`
}

// RootChain is accepted for those who have it in their files: no root is ever asked for over the network.
type RootChain struct {
	RequestTimeout Duration `json:"requestTimeout,omitempty"`
}

// DefaultLeafLife is how long a certificate lives where its backend does not say.
const DefaultLeafLife = 24 * time.Hour

// LeafLife is how long a certificate of this backend lives.
func (b *Backend) LeafLife() time.Duration {
	if b.DPCert == nil {
		return DefaultLeafLife
	}
	return b.DPCert.Rotation.Expiration.Std()
}

// Permissive reports whether inbounds take plaintext as well.
func (b *Backend) Permissive() bool { return b.Mode == ModePermissive }

// RequestTimeout is how long the making of a certificate may take, 0 where the backend does not say.
func (b *Backend) RequestTimeout() time.Duration {
	if b.DPCert == nil {
		return 0
	}
	return b.DPCert.RequestTimeout.Std()
}

// The bounds of the life of a certificate: what a renewal has time for, and what can still be called short-lived.
const (
	minLife     = 10 * time.Second
	maxLeafLife = 90 * day
)

func (p *problems) checkBackend(at, mesh string, b *Backend) {
	if err := ValidName(b.Name); err != nil {
		p.add(at+".name", "%v", err)
	} else if len(CACertName(mesh, b.Name)) > maxName {
		p.add(at+".name", "is too long to name the secrets of the CA with it")
	}
	if b.Type == "" {
		p.add(at+".type", "must be given, such as %s or %s", BackendBuiltin, BackendProvided)
	}
	if b.Mode != "" && b.Mode != ModeStrict && b.Mode != ModePermissive {
		p.add(at+".mode", "must be %s or %s", ModeStrict, ModePermissive)
	}
	if leaf := b.LeafLife(); leaf < minLife || leaf > maxLeafLife {
		p.add(at+".dpCert.rotation.expiration", "must be between %v and %v", Duration(minLife), Duration(maxLeafLife))
	}
	if b.RequestTimeout() < 0 {
		p.add(at+".dpCert.requestTimeout", "must not be negative")
	}
}
