package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"koguma/authority"
	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
)

// seal is the mesh as it is kept: private keys that are in it, it only refers to. keys are what its secrets must have then.
func seal(m *policy.Mesh) (sealed *policy.Mesh, keys map[string][]byte, err error) {
	if m.MTLS == nil {
		return m, nil, nil
	}
	copied, mtls := *m, *m.MTLS
	mtls.Backends = slices.Clone(mtls.Backends)
	copied.MTLS = &mtls
	keys = map[string][]byte{}
	for i := range mtls.Backends {
		b := &mtls.Backends[i]
		keeper, ok := keeperOf(b)
		if !ok {
			continue
		}
		made, err := keeper.Seal(m.Name, b)
		if err != nil {
			return nil, nil, fmt.Errorf("the key of mTLS backend %q: %w", b.Name, err)
		}
		for name, data := range made {
			keys[name] = data
		}
	}
	return &copied, keys, nil
}

// keeperOf is the kind of a backend, if it is one that is given a private key.
func keeperOf(b *policy.Backend) (authority.Keeper, bool) {
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		return nil, false
	}
	keeper, ok := kind.(authority.Keeper)
	return keeper, ok
}

// secretReader opens backends with the secrets of a mesh as they will be: over those in the store there are those that are
// about to be written.
type secretReader struct {
	Registry
	ctx  context.Context
	mesh string
	over map[string][]byte
	read map[string]bool            // by the backend that was opened last
	seen map[string]policy.Resource // what was found in the store
	err  error                      // of the store
}

func (rs Registry) secretReader(ctx context.Context, mesh string, over map[string][]byte) *secretReader {
	return &secretReader{Registry: rs, ctx: ctx, mesh: mesh, over: over, seen: map[string]policy.Resource{}}
}

func (r *secretReader) secret(name string) []byte {
	r.read[name] = true
	if data, ok := r.over[name]; ok {
		return data
	}
	found, err := r.Find(r.ctx, policy.Key{Type: policy.TypeSecret, Mesh: r.mesh, Name: name})
	if err != nil {
		r.err = err
	}
	s, ok := found.(*policy.Secret)
	if !ok {
		return nil
	}
	r.seen[name] = s
	return s.Data
}

// open opens a backend to see whether it can be.
func (r *secretReader) open(b *policy.Backend) error {
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		return err
	}
	r.read = map[string]bool{}
	_, err = kind.Open(r.mesh, b, r.secret)
	return errors.Join(r.err, err)
}

// ops are that what was found stays as it is.
func (r *secretReader) ops() []store.Op {
	var ops []store.Op
	for _, s := range r.seen {
		ops = append(ops, store.Unchanged(s))
	}
	return ops
}

// opsForGiven refuses a mesh with a backend whose certificate or key will not do, and keeps the keys that were sealed.
func (rs Registry) opsForGiven(ctx context.Context, m *policy.Mesh, keys map[string][]byte) ([]store.Op, error) {
	if m.MTLS == nil {
		return nil, nil
	}
	var ops []store.Op
	for name, data := range keys {
		old, err := rs.Find(ctx, policy.Key{Type: policy.TypeSecret, Mesh: m.Name, Name: name})
		if err != nil {
			return nil, err
		}
		if s, ok := old.(*policy.Secret); !ok || !bytes.Equal(s.Data, data) {
			ops = append(ops, store.Op{Put: newSecret(m.Name, name, data), Expect: store.AsRead(old)})
		}
	}
	r := rs.secretReader(ctx, m.Name, keys)
	for i := range m.MTLS.Backends {
		b := &m.MTLS.Backends[i]
		if _, ok := keeperOf(b); !ok {
			continue
		}
		if err := r.open(b); err != nil {
			return nil, within(fmt.Sprintf("mtls.backends[%d].", i), err)
		}
	}
	return append(ops, r.ops()...), nil
}

// within is an error about fields of something, as one about those of what it is in.
func within(at string, err error) error {
	invalid, ok := errors.AsType[*policy.Invalid](err)
	if !ok {
		return err
	}
	var moved policy.Invalid
	for _, f := range invalid.Fields {
		moved.Fields = append(moved.Fields, policy.FieldError{Field: at + f.Field, Reason: f.Reason})
	}
	return &moved
}

// opsForUsed refuses to let data take the place of a secret where a backend of the mesh would no longer do with it.
func (rs Registry) opsForUsed(ctx context.Context, m *policy.Mesh, name string, data []byte) ([]store.Op, error) {
	if m.MTLS == nil {
		return nil, nil
	}
	r := rs.secretReader(ctx, m.Name, map[string][]byte{name: data})
	for i := range m.MTLS.Backends {
		b := &m.MTLS.Backends[i]
		if _, ok := keeperOf(b); !ok {
			continue
		}
		if err := r.open(b); err != nil && r.read[name] {
			return nil, problem.Parameter("data", fmt.Sprintf("mTLS backend %q of mesh %q uses this secret, and would not do with it: %v; "+
				"put a new pair into secrets of other names, and let a backend refer to those", b.Name, m.Name, err))
		}
	}
	return r.ops(), r.err
}

// userOf is the backend of a mesh that reads a secret, nil if none does.
func (rs Registry) userOf(ctx context.Context, m *policy.Mesh, name string) (*policy.Backend, error) {
	if m.MTLS == nil {
		return nil, nil
	}
	trusted, err := rs.trustedBackends(ctx, m)
	if err != nil {
		return nil, err
	}
	r := rs.secretReader(ctx, m.Name, nil)
	for i := range m.MTLS.Backends {
		b := &m.MTLS.Backends[i]
		if _, ok := keeperOf(b); !ok && !slices.Contains(trusted, b.Name) {
			continue // what it makes itself, it makes again
		}
		if _ = r.open(b); r.read[name] { // whether or not it can be opened
			return b, nil
		}
	}
	return nil, r.err
}

// isCAKey reports whether a secret has the private key of a backend of its mesh.
func (rs Registry) isCAKey(ctx context.Context, key policy.Key) (bool, error) {
	m, err := rs.Mesh(ctx, key.Mesh)
	if err != nil || m.MTLS == nil {
		return false, err
	}
	for i := range m.MTLS.Backends {
		b := &m.MTLS.Backends[i]
		if keeper, ok := keeperOf(b); ok && keeper.KeySecret(b) == key.Name {
			return true, nil
		}
	}
	return false, nil
}
