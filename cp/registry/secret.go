package registry

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// ownedByCA reports whether the control plane itself makes the secret, for a CA.
func ownedByCA(key policy.Key) bool {
	return strings.HasPrefix(key.Name, policy.CACertName(key.Mesh, "")) || isOwnCAKey(key)
}

func isOwnCAKey(key policy.Key) bool {
	return strings.HasPrefix(key.Name, policy.CAKeyName(key.Mesh, "")) || strings.HasPrefix(key.Name, policy.ProvidedKeyName(key.Mesh, ""))
}

// Unreadable reports whether nobody may have the content of the secret, whoever asks: the keys that everything else
// hangs on.
func (rs Registry) Unreadable(ctx context.Context, key policy.Key) (bool, error) {
	if key.Type == policy.TypeGlobalSecret {
		return ownGlobalSecret(key), nil
	}
	if strings.HasPrefix(key.Name, anySigningKeyPrefix) || isOwnCAKey(key) {
		return true, nil
	}
	return rs.isCAKey(ctx, key)
}

// checkSecret refuses secrets that the control plane could not work with. old is what the secret replaces, or nil.
func (rs Registry) checkSecret(ctx context.Context, s *policy.Secret, old policy.Resource) error {
	key := s.Key()
	if ownedByCA(key) {
		return problem.Parameter("name", "the control plane makes the secrets of a CA with such names itself; put the backend into the Mesh")
	}
	if s.Name == policy.RevocationsName(s.Mesh) {
		return checkRevocations(s.Data)
	}
	serial, ok := SigningKeySerial(key)
	if !ok {
		return nil
	}
	if _, err := token.ParseKey(s.Data); err != nil {
		return problem.Parameter("data", err.Error())
	}
	if old != nil {
		if bytes.Equal(old.(*policy.Secret).Data, s.Data) {
			return nil
		}
		return problem.Conflict(key, "it exists with another key, and tokens are out that it signed; use the next serial number")
	}
	keys, err := rs.SigningKeys(ctx, s.Mesh)
	if err != nil {
		return err
	}
	next, err := rs.nextSerial(ctx, s.Mesh, keys)
	if err != nil {
		return err
	}
	if serial != next {
		return problem.Conflict(key, fmt.Sprintf("the next signing key is number %d", next))
	}
	return nil
}

// deleteSecret removes a secret that nothing depends on. By force it may be the last signing key.
func (rs Registry) deleteSecret(ctx context.Context, s policy.Resource, force bool) error {
	key := s.Metadata().Key()
	m, err := rs.Mesh(ctx, key.Mesh)
	if err != nil {
		return err
	}
	ops := []store.Op{store.Unchanged(m), {Delete: key, Expect: store.AsRead(s)}}
	switch b, err := rs.userOf(ctx, m, key.Name); {
	case err != nil:
		return err
	case b != nil:
		return problem.Parameter("name", fmt.Sprintf("mTLS backend %q of mesh %q uses this secret; go to another backend or disable mTLS first, then take this one out of the Mesh", b.Name, m.Name))
	}
	if serial, ok := SigningKeySerial(key); ok {
		more, err := rs.opsForLosingKey(ctx, key, serial, force)
		if err != nil {
			return err
		}
		ops = append(ops, more...)
	}
	return rs.Store.Write(ctx, ops...)
}
