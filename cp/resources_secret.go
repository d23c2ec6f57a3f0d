package cp

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

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

// unreadable reports whether nobody may have the content of the secret, whoever asks: the keys that everything else
// hangs on.
func (rs resources) unreadable(ctx context.Context, key policy.Key) (bool, error) {
	if key.Type == policy.TypeGlobalSecret {
		return ownGlobalSecret(key), nil
	}
	if strings.HasPrefix(key.Name, anySigningKeyPrefix) || isOwnCAKey(key) {
		return true, nil
	}
	return rs.isCAKey(ctx, key)
}

// checkSecret refuses secrets that the control plane could not work with. old is what the secret replaces, or nil.
func (rs resources) checkSecret(ctx context.Context, s *policy.Secret, old policy.Resource) error {
	key := s.Key()
	if ownedByCA(key) {
		return parameter("name", "the control plane makes the secrets of a CA with such names itself; put the backend into the Mesh")
	}
	if s.Name == policy.RevocationsName(s.Mesh) {
		return checkRevocations(s.Data)
	}
	serial, ok := signingKeySerial(key)
	if !ok {
		return nil
	}
	if _, err := token.ParseKey(s.Data); err != nil {
		return parameter("data", err.Error())
	}
	if old != nil {
		if bytes.Equal(old.(*policy.Secret).Data, s.Data) {
			return nil
		}
		return conflict(key, "it exists with another key, and tokens are out that it signed; use the next serial number")
	}
	keys, err := rs.signingKeys(ctx, s.Mesh)
	if err != nil {
		return err
	}
	next, err := rs.nextSerial(ctx, s.Mesh, keys)
	if err != nil {
		return err
	}
	if serial != next {
		return conflict(key, fmt.Sprintf("the next signing key is number %d", next))
	}
	return nil
}

// conflict refuses a write that is right in itself, but not with what else there is.
func conflict(key policy.Key, reason string) error {
	return refuse(http.StatusConflict, "Conflict", fmt.Sprintf("%s: %s", key, reason))
}

// deleteSecret removes a secret that nothing depends on. By force it may be the last signing key.
func (rs resources) deleteSecret(ctx context.Context, s policy.Resource, force bool) error {
	key := s.Metadata().Key()
	m, err := rs.mesh(ctx, key.Mesh)
	if err != nil {
		return err
	}
	ops := []store.Op{store.Unchanged(m), {Delete: key, Expect: store.AsRead(s)}}
	switch b, err := rs.userOf(ctx, m, key.Name); {
	case err != nil:
		return err
	case b != nil:
		return parameter("name", fmt.Sprintf("mTLS backend %q of mesh %q uses this secret; go to another backend or disable mTLS first, then take this one out of the Mesh", b.Name, m.Name))
	}
	if serial, ok := signingKeySerial(key); ok {
		more, err := rs.opsForLosingKey(ctx, key, serial, force)
		if err != nil {
			return err
		}
		ops = append(ops, more...)
	}
	return rs.store.Write(ctx, ops...)
}
