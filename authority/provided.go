package authority

import (
	"context"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
	"koguma/policy"
)

// provided is the kind that the operator gives certificate and key of.
type provided struct{}

// providedConf has the certificate of the issuing CA, with those above it up to the root, and its key, both in PEM.
type providedConf struct {
	Cert source `json:"cert"`
	Key  source `json:"key"`
}

func readProvided(b *policy.Backend) (c providedConf, err error) {
	if err = decodeConf(b, &c); err == nil {
		err = c.Cert.check("conf.cert")
	}
	if err == nil {
		err = c.Key.check("conf.key")
	}
	return c, err
}

// Check implements [Kind].
func (provided) Check(b *policy.Backend) error {
	_, err := readProvided(b)
	return err
}

// Make implements [Kind].
func (provided) Make(string, *policy.Backend, func(string) bool) (map[string][]byte, error) {
	return nil, nil
}

// Seal implements [Keeper].
func (provided) Seal(mesh string, b *policy.Backend) (map[string][]byte, error) {
	conf, err := readProvided(b)
	if err != nil {
		return nil, err
	}
	return sealKey(mesh, b, &conf, &conf.Key)
}

// KeySecret implements [Keeper].
func (provided) KeySecret(b *policy.Backend) string {
	conf, _ := readProvided(b) // what has not passed Check is in no mesh
	return conf.Key.Secret
}

// Open implements [Kind].
func (provided) Open(mesh string, b *policy.Backend, secret func(name string) []byte) (Authority, error) {
	conf, err := readProvided(b)
	if err != nil {
		return nil, err
	}
	r := reader{secret: secret}
	cert, key := r.read("conf.cert", conf.Cert), r.read("conf.key", conf.Key)
	if r.err != nil {
		return nil, r.err
	}
	chain, err := certs.ParseCA(cert)
	if err != nil {
		return nil, invalid("conf.cert", "%s: %v", conf.Cert.name(), err)
	}
	ca, err := certs.WithKey(chain, key)
	if err != nil {
		return nil, invalid("conf.key", "%s: %v", conf.Key.name(), err)
	}
	if err := tryOut(ca, mesh); err != nil {
		return nil, invalid("conf.cert", "%s: %v", conf.Cert.name(), err)
	}
	return &given{held{ca}, r.files}, nil
}

// given is a CA whose certificate and key may be in files.
type given struct {
	held
	files
}

// tryOut has the CA sign an identity of the mesh that nobody gets. That finds what the certificates alone do not show to a
// reader: names that they are confined to, or that are another mesh's.
func tryOut(ca *certs.CA, mesh string) error {
	domain, err := spiffeid.TrustDomainFromString(mesh)
	if err != nil {
		return err
	}
	id, err := spiffeid.FromSegments(domain, "trial")
	if err != nil {
		return err
	}
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	if _, err := ca.Issue(context.Background(), certs.Request{Key: key.Public(), ID: id, Life: time.Minute}); err != nil {
		return fmt.Errorf("it cannot sign for mesh %q: %w", mesh, err)
	}
	return nil
}
