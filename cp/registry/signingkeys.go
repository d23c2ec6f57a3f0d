package registry

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
)

// anySigningKeyPrefix begins the names of the signing keys of all meshes.
const anySigningKeyPrefix = "dataplane-token-signing-key"

// SigningKey is a key that signs the tokens of a mesh.
type SigningKey struct {
	Serial int
	Secret *policy.Secret
}

// SigningKeys are the keys of a mesh, the newest last.
func (rs Registry) SigningKeys(ctx context.Context, mesh string) ([]SigningKey, error) {
	secrets, err := rs.Store.List(ctx, policy.TypeSecret, mesh)
	if err != nil {
		return nil, err
	}
	var keys []SigningKey
	for _, r := range secrets {
		if serial, ok := SigningKeySerial(r.Metadata().Key()); ok {
			keys = append(keys, SigningKey{serial, r.(*policy.Secret)})
		}
	}
	slices.SortFunc(keys, func(a, b SigningKey) int { return a.Serial - b.Serial })
	return keys, nil
}

// SigningKeySerial is the serial number of a key that signs the tokens of the mesh that the secret is in. There is one
// way to write it.
func SigningKeySerial(key policy.Key) (serial int, ok bool) {
	text, ok := strings.CutPrefix(key.Name, policy.SigningKeyPrefix(key.Mesh))
	if !ok {
		return 0, false
	}
	serial, err := strconv.Atoi(text)
	return serial, err == nil && serial > 0 && strconv.Itoa(serial) == text
}

// Describe is what can be told of the key.
func (k SigningKey) Describe(signs bool) policy.SigningKey {
	return policy.SigningKey{Name: k.Secret.Name, Serial: k.Serial, Signs: signs, CreationTime: k.Secret.CreationTime}
}

// opsForFirstKey makes the key of a mesh that never had one. Where an operator deleted the last, none comes by itself.
func (rs Registry) opsForFirstKey(ctx context.Context, mesh string) ([]store.Op, error) {
	keys, err := rs.SigningKeys(ctx, mesh)
	if err != nil || len(keys) > 0 {
		return nil, err
	}
	if next, err := rs.nextSerial(ctx, mesh, keys); err != nil || next > 1 {
		return nil, err
	}
	pem, err := token.NewKeyPEM()
	if err != nil {
		return nil, err
	}
	return []store.Op{putSigningKey(mesh, 1, pem)}, nil
}

func putSigningKey(mesh string, serial int, pem []byte) store.Op {
	return store.Op{Put: newSecret(mesh, policy.SigningKeyPrefix(mesh)+strconv.Itoa(serial), pem), Expect: store.Absent}
}

// AddSigningKey makes the next key of a mesh. With after it does so only if there is none newer than that one: who asks
// twice, or at the same time as somebody else, gets the key that is there.
func (rs Registry) AddSigningKey(ctx context.Context, mesh string, after *int) (key SigningKey, created bool, err error) {
	var pem []byte
	err = store.Again(func() error {
		m, err := rs.Mesh(ctx, mesh)
		if err != nil {
			return err
		}
		keys, err := rs.SigningKeys(ctx, mesh)
		if err != nil {
			return err
		}
		if n := len(keys); n > 0 && after != nil && keys[n-1].Serial > *after {
			key, created = keys[n-1], false
			return nil
		}
		if pem == nil { // which takes its time
			if pem, err = token.NewKeyPEM(); err != nil {
				return err
			}
		}
		next, err := rs.nextSerial(ctx, mesh, keys)
		if err != nil {
			return err
		}
		put := putSigningKey(mesh, next, pem)
		key, created = SigningKey{next, put.Put.(*policy.Secret)}, true
		return rs.Store.Write(ctx, store.Unchanged(m), put)
	})
	return key, created, err
}

// opsForLosingKey is what goes with the deletion of a signing key. The last one goes by force only.
func (rs Registry) opsForLosingKey(ctx context.Context, key policy.Key, serial int, force bool) ([]store.Op, error) {
	keys, err := rs.SigningKeys(ctx, key.Mesh)
	if err != nil {
		return nil, err
	}
	var ops []store.Op
	others := slices.DeleteFunc(keys, func(k SigningKey) bool { return k.Serial == serial })
	if n := len(others); n > 0 {
		newest := others[n-1]
		ops = append(ops, store.Unchanged(newest.Secret))
		if newest.Serial > serial {
			return ops, nil
		}
	} else if !force {
		return nil, problem.Conflict(key, "it is the last signing key, and without one every proxy is locked out; make another first "+
			"(kumactl rotate signing-key --mesh "+key.Mesh+"), or delete it all the same with --force (?force=true)")
	}
	used, err := rs.usedSerial(ctx, key.Mesh)
	if err != nil || used.serial >= serial {
		return ops, err
	}
	note := newGlobalSecret(usedSerialName(key.Mesh), []byte(strconv.Itoa(serial)))
	return append(ops, store.Op{Put: note, Expect: store.AsRead(used.note)}), nil
}

// usedSerial is the note about the greatest serial number that a mesh used and that no key has any more. A number is
// not used again while there is the mesh: tokens name their keys by it, and what is said about key 2 today must be true
// of the key 2 of yesterday. The note is the control plane's own, and goes with the mesh.
type usedSerial struct {
	serial int             // 0: there is none
	note   policy.Resource // nil: there is none
}

func usedSerialName(mesh string) string { return "signing-key-serial-" + mesh }

func (rs Registry) usedSerial(ctx context.Context, mesh string) (usedSerial, error) {
	r, err := rs.Find(ctx, policy.Key{Type: policy.TypeGlobalSecret, Name: usedSerialName(mesh)})
	if err != nil || r == nil {
		return usedSerial{}, err
	}
	serial, err := strconv.Atoi(string(r.(*policy.GlobalSecret).Data))
	if err != nil {
		return usedSerial{}, fmt.Errorf("%s does not hold a number", r.Metadata().Key())
	}
	return usedSerial{serial, r}, nil
}

// nextSerial is the number of the next key, where these are the keys of the mesh now.
func (rs Registry) nextSerial(ctx context.Context, mesh string, keys []SigningKey) (int, error) {
	used, err := rs.usedSerial(ctx, mesh)
	if err != nil {
		return 0, err
	}
	newest := 0
	if n := len(keys); n > 0 {
		newest = keys[n-1].Serial
	}
	return max(newest, used.serial) + 1, nil
}
