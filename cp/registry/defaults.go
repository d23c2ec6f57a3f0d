package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"koguma/certs"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

// defaultMesh is the mesh that is there without anybody making it.
const defaultMesh = "default"

// The GlobalSecrets with the CA of the control planes' own TLS, in PEM. All control planes of one store have it.
const (
	authorityCert = "kuma-cp-ca-cert"
	authorityKey  = "kuma-cp-ca-key"
)

// authorityLife is how long that CA lives.
const authorityLife = 10 * 365 * 24 * time.Hour

// CreateDefaults makes what a store has from the first start on.
func (rs Registry) CreateDefaults(ctx context.Context, d settings.DefaultsConfig) error {
	if d.SkipMeshCreation {
		return nil
	}
	m := &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: defaultMesh}}
	if old, err := rs.Find(ctx, m.Key()); err != nil || old != nil {
		return err
	}
	ops, err := rs.opsForMesh(ctx, m)
	if err != nil {
		return err
	}
	err = rs.Store.Write(ctx, append(ops, store.Op{Put: m, Expect: store.Absent})...)
	if errors.Is(err, store.ErrConflict) {
		return nil // another control plane made it at the same time
	}
	return err
}

// LoadCPAuthority is the CA of the control planes' own TLS, made if there is none. Several control planes of one store
// that start at the same time get the same.
func LoadCPAuthority(ctx context.Context, s store.Store) (*certs.CA, error) {
	ca, err := readAuthority(ctx, s)
	if ca != nil || err != nil {
		return ca, err
	}
	made, err := certs.NewCA(certs.CAOptions{CommonName: "kuma-cp", Life: authorityLife})
	if err != nil {
		return nil, err
	}
	keyPEM, err := made.KeyPEM()
	if err != nil {
		return nil, err
	}
	err = s.Write(ctx,
		store.Op{Put: newGlobalSecret(authorityCert, made.CertPEM()), Expect: store.Absent},
		store.Op{Put: newGlobalSecret(authorityKey, keyPEM), Expect: store.Absent},
	)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, err
	}
	return readAuthority(ctx, s)
}

// readAuthority is the CA in the store, nil if there is none.
func readAuthority(ctx context.Context, s store.Store) (*certs.CA, error) {
	var pem [2][]byte
	for i, name := range [...]string{authorityCert, authorityKey} {
		r, err := s.Get(ctx, policy.Key{Type: policy.TypeGlobalSecret, Name: name})
		switch {
		case err == nil:
			pem[i] = r.(*policy.GlobalSecret).Data
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	switch {
	case pem[0] == nil && pem[1] == nil:
		return nil, nil
	case pem[0] == nil || pem[1] == nil:
		return nil, fmt.Errorf("the store has only one of the GlobalSecrets %s and %s: restore the other from a backup", authorityCert, authorityKey)
	}
	ca, err := certs.LoadCA(pem[0], pem[1])
	if err != nil {
		return nil, fmt.Errorf("the CA in the GlobalSecrets %s and %s: %w", authorityCert, authorityKey, err)
	}
	return ca, nil
}

func newGlobalSecret(name string, data []byte) *policy.GlobalSecret {
	return &policy.GlobalSecret{Meta: policy.Meta{Type: policy.TypeGlobalSecret, Name: name}, Data: data}
}
