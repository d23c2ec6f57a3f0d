package authority

import (
	"net/url"
	"time"

	"koguma/certs"
	"koguma/policy"
)

// builtin is the kind that the control plane makes itself, once, and keeps in the secrets of the mesh.
type builtin struct{}

// builtinConf says what CA certificate is made: EC P-256 unless RSAbits is set, ten years unless expiration is.
type builtinConf struct {
	CACert struct {
		RSABits    int             `json:"RSAbits"`
		Expiration policy.Duration `json:"expiration"`
	} `json:"caCert"`
}

// The bounds of what can be made.
const (
	defaultLife = 10 * 365 * 24 * time.Hour
	minLife     = 10 * time.Second
	maxLife     = 100 * 365 * 24 * time.Hour
	minRSABits  = 2048 // below it is weak
	maxRSABits  = 4096 // above it is slow
)

// life is how long the CA certificate lives.
func (c *builtinConf) life() time.Duration {
	if c.CACert.Expiration == 0 {
		return defaultLife
	}
	return c.CACert.Expiration.Std()
}

// Check implements [Kind].
func (builtin) Check(b *policy.Backend) error {
	var conf builtinConf
	if err := decodeConf(b, &conf); err != nil {
		return err
	}
	leaf, ca := b.LeafLife(), conf.life()
	switch bits := conf.CACert.RSABits; {
	case ca < minLife || ca > maxLife:
		return invalid("conf.caCert.expiration", "must be between %v and %v", policy.Duration(minLife), policy.Duration(maxLife))
	case leaf > ca && b.DPCert == nil: // the leaf has the default: it is the CA's life that is too short for it
		return invalid("conf.caCert.expiration", "a certificate would live %v, longer than its CA, which lives %v", policy.Duration(leaf), policy.Duration(ca))
	case leaf > ca:
		return invalid("dpCert.rotation.expiration", "a certificate would live %v, longer than its CA, which lives %v", policy.Duration(leaf), policy.Duration(ca))
	case bits != 0 && (bits < minRSABits || bits > maxRSABits):
		return invalid("conf.caCert.RSAbits", "must be between %d and %d", minRSABits, maxRSABits)
	}
	return nil
}

// Make implements [Kind].
func (builtin) Make(mesh string, b *policy.Backend, has func(name string) bool) (map[string][]byte, error) {
	certName, keyName := policy.CACertName(mesh, b.Name), policy.CAKeyName(mesh, b.Name)
	if has(certName) && has(keyName) {
		return nil, nil
	}
	// One of the two may have been deleted while the backend was not in use. The other is of no use then.
	var conf builtinConf
	if err := decodeConf(b, &conf); err != nil {
		return nil, err
	}
	ca, err := certs.NewCA(certs.CAOptions{
		CommonName: mesh,
		URI:        &url.URL{Scheme: "spiffe", Host: mesh},
		RSABits:    conf.CACert.RSABits,
		Life:       conf.life(),
	})
	if err != nil {
		return nil, err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{certName: ca.CertPEM(), keyName: key}, nil
}

// Open implements [Kind].
func (builtin) Open(mesh string, b *policy.Backend, secret func(name string) []byte) (Authority, error) {
	cert, key := secret(policy.CACertName(mesh, b.Name)), secret(policy.CAKeyName(mesh, b.Name))
	if cert == nil || key == nil {
		return nil, errMissing
	}
	ca, err := certs.LoadCA(cert, key)
	if err != nil {
		return nil, err
	}
	return held{ca}, nil
}
