package cp

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// anySigningKeyPrefix begins the names of the signing keys of all meshes.
const anySigningKeyPrefix = "dataplane-token-signing-key"

// signingKey is a key that signs the tokens of a mesh.
type signingKey struct {
	serial int
	secret *policy.Secret
}

// signingKeys are the keys of a mesh, the newest last.
func (rs resources) signingKeys(ctx context.Context, mesh string) ([]signingKey, error) {
	secrets, err := rs.store.List(ctx, policy.TypeSecret, mesh)
	if err != nil {
		return nil, err
	}
	var keys []signingKey
	for _, r := range secrets {
		if serial, ok := signingKeySerial(r.Metadata().Key()); ok {
			keys = append(keys, signingKey{serial, r.(*policy.Secret)})
		}
	}
	slices.SortFunc(keys, func(a, b signingKey) int { return a.serial - b.serial })
	return keys, nil
}

// signingKeySerial is the serial number of a key that signs the tokens of the mesh that the secret is in.
func signingKeySerial(key policy.Key) (serial int, ok bool) {
	text, ok := strings.CutPrefix(key.Name, policy.SigningKeyPrefix(key.Mesh))
	if !ok {
		return 0, false
	}
	serial, err := strconv.Atoi(text)
	return serial, err == nil
}

// ownedByCA reports whether the secret is part of a builtin CA.
func ownedByCA(key policy.Key) bool {
	return strings.HasPrefix(key.Name, policy.CACertName(key.Mesh, "")) || strings.HasPrefix(key.Name, policy.CAKeyName(key.Mesh, ""))
}

// unreadable reports whether nobody may have the content of the secret, whoever asks: the keys that everything else
// hangs on.
func unreadable(key policy.Key) bool {
	return strings.HasPrefix(key.Name, anySigningKeyPrefix) || strings.HasPrefix(key.Name, policy.CAKeyName(key.Mesh, ""))
}

// checkSecret refuses secrets that the control plane could not work with. old is what the secret replaces, or nil.
func (rs resources) checkSecret(ctx context.Context, s *policy.Secret, old policy.Resource) error {
	key := s.Key()
	if ownedByCA(key) {
		return parameter("name", "the control plane makes the secrets of a builtin CA itself; enable the backend in the Mesh")
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
	if next := nextSerial(keys); serial != next {
		return conflict(key, fmt.Sprintf("the next signing key is number %d", next))
	}
	return nil
}

func nextSerial(keys []signingKey) int {
	if len(keys) == 0 {
		return 1
	}
	return keys[len(keys)-1].serial + 1
}

// conflict refuses a write that is right in itself, but not with what else there is.
func conflict(key policy.Key, reason string) error {
	return refuse(http.StatusConflict, "Conflict", fmt.Sprintf("%s: %s", key, reason))
}

// deleteSecret removes a secret that nothing depends on.
func (rs resources) deleteSecret(ctx context.Context, key policy.Key) error {
	m, err := rs.mesh(ctx, key.Mesh)
	if err != nil {
		return err
	}
	s, err := rs.store.Get(ctx, key)
	if err != nil {
		return err
	}
	ops := []store.Op{unchanged(m), {Delete: key, Expect: expectation(s)}}
	if b := m.Enabled(); b != nil && (key.Name == policy.CACertName(m.Name, b.Name) || key.Name == policy.CAKeyName(m.Name, b.Name)) {
		return parameter("name", fmt.Sprintf("mTLS backend %q of mesh %q uses this secret; disable mTLS first", b.Name, m.Name))
	}
	if _, ok := signingKeySerial(key); ok {
		keys, err := rs.signingKeys(ctx, key.Mesh)
		if err != nil {
			return err
		}
		other := slices.IndexFunc(keys, func(k signingKey) bool { return k.secret.Name != key.Name })
		if other < 0 {
			return conflict(key, fmt.Sprintf("it is the last signing key, and without one every proxy is locked out; "+
				"put %s%d with a new key first", policy.SigningKeyPrefix(key.Mesh), nextSerial(keys)))
		}
		ops = append(ops, unchanged(keys[other].secret))
	}
	return rs.store.Write(ctx, ops...)
}
