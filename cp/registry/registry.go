// Package registry is what operators write: meshes, permissions, secrets, signing keys, and all else that is a resource.
//
// A [Registry] decides about a write by what else is in the store, makes what belongs to it, and does all of that or nothing.
// What it refuses is a [problem.Problem] that says why, and what to do next.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"koguma/authority"
	"koguma/cp/problem"
	"koguma/mistake"
	"koguma/policy"
	"koguma/store"
)

// Registry is what it means to write a resource: what is checked against the rest of the store, and what is made or
// goes with it. Each write is one [store.Store] Write, so it happens wholly or not at all, and what it was decided
// upon is among its expectations, so it is still true when it happens.
type Registry struct {
	Store store.Store
	// Offline is whether tokens are made elsewhere, so that a mesh needs no key that signs them.
	Offline bool
	// Force is whether a backend goes although its certificates are in use.
	Force bool
	// Only is what must be there for the write to happen.
	Only Precondition
}

// Outcome is what a put came to.
type Outcome struct {
	Put      policy.Resource // as it is kept
	Created  bool
	Warnings []string
	Cut      []string // who is cut off, by force
}

// Put writes a resource that is valid in itself.
func (rs Registry) Put(ctx context.Context, r policy.Resource) (Outcome, error) {
	var out Outcome
	var keys map[string][]byte
	if m, ok := r.(*policy.Mesh); ok {
		if err := checkBackends(m); err != nil {
			return out, err
		}
		sealed, made, err := seal(m)
		if err != nil {
			return out, err
		}
		r, keys = sealed, made
	}
	err := store.Again(func() error {
		old, err := rs.Find(ctx, r.Metadata().Key())
		if err != nil {
			return err
		}
		if err := rs.Only.check(r.Metadata().Key(), old); err != nil {
			return err
		}
		out = Outcome{Put: r, Created: old == nil}
		ops, err := rs.opsFor(ctx, r, old, keys)
		if err != nil {
			return err
		}
		if m, ok := r.(*policy.Mesh); ok {
			if out.Warnings, err = rs.warnings(ctx, m); err != nil {
				return err
			}
			var trust []store.Op
			if trust, out.Cut, err = rs.opsForTrust(ctx, m, old); err != nil {
				return err
			}
			ops = append(ops, trust...)
		}
		return rs.Store.Write(ctx, append(ops, store.Op{Put: r, Expect: store.AsRead(old)})...)
	})
	return out, err
}

// opsFor is what has to be done or to be so for r to take the place of old, which is nil if there is nothing. keys are those
// that were sealed.
func (rs Registry) opsFor(ctx context.Context, r, old policy.Resource, keys map[string][]byte) ([]store.Op, error) {
	switch r := r.(type) {
	case *policy.Mesh:
		ops, err := rs.opsForMesh(ctx, r)
		if err != nil {
			return nil, err
		}
		given, err := rs.opsForGiven(ctx, r, keys)
		return append(ops, given...), err
	case *policy.GlobalSecret:
		return nil, checkGlobalSecret(r.Key())
	}
	mesh, err := rs.Mesh(ctx, r.Metadata().Mesh)
	if err != nil {
		return nil, err
	}
	ops := []store.Op{store.Unchanged(mesh)}
	switch r := r.(type) {
	case *policy.Secret:
		if err := rs.checkSecret(ctx, r, old); err != nil {
			return nil, err
		}
		used, err := rs.opsForUsed(ctx, mesh, r.Name, r.Data)
		return append(ops, used...), err
	case *policy.Dataplane:
		if err := mesh.Admit(r); err != nil {
			return nil, problem.Refuse(http.StatusConflict, "Conflict", err.Error())
		}
	case *policy.MeshTrafficPermission:
		return ops, rs.checkMerged(ctx, r)
	}
	return ops, nil
}

// Delete removes a resource and what belongs to it; by force also a secret that should better stay.
func (rs Registry) Delete(ctx context.Context, key policy.Key, force bool) error {
	return store.Again(func() error {
		old, err := rs.Store.Get(ctx, key)
		if err != nil {
			return err
		}
		if err := rs.Only.check(key, old); err != nil {
			return err
		}
		switch key.Type {
		case policy.TypeMesh:
			return rs.deleteMesh(ctx, old)
		case policy.TypeSecret:
			return rs.deleteSecret(ctx, old, force)
		case policy.TypeGlobalSecret:
			if err := checkGlobalSecret(key); err != nil {
				return err
			}
		}
		return rs.Store.Write(ctx, store.Op{Delete: key, Expect: store.AsRead(old)})
	})
}

// opsForMesh makes what a mesh cannot be without: a key that signs its tokens and, once mTLS is on, its CA.
func (rs Registry) opsForMesh(ctx context.Context, m *policy.Mesh) ([]store.Op, error) {
	var ops []store.Op
	if !rs.Offline {
		var err error
		if ops, err = rs.opsForFirstKey(ctx, m.Name); err != nil {
			return nil, err
		}
	}
	if b := m.Enabled(); b != nil {
		ca, err := rs.opsForCA(ctx, m.Name, b)
		if err != nil {
			return nil, err
		}
		ops = append(ops, ca...)
	}
	return ops, nil
}

// checkBackends finds what is wrong with the configuration of a mesh's backends.
func checkBackends(m *policy.Mesh) error {
	if m.MTLS == nil {
		return nil
	}
	var bad policy.Invalid
	for i := range m.MTLS.Backends {
		at := fmt.Sprintf("mtls.backends[%d].", i)
		kind, err := authority.KindOf(m.MTLS.Backends[i].Type)
		if err != nil {
			bad.Fields = append(bad.Fields, policy.FieldError{Field: at + "type", Reason: err.Error()})
			continue
		}
		err = within(at, kind.Check(&m.MTLS.Backends[i]))
		if invalid, ok := errors.AsType[*policy.Invalid](err); ok {
			bad.Fields = append(bad.Fields, invalid.Fields...)
		} else if err != nil {
			return err
		}
	}
	if len(bad.Fields) > 0 {
		return &bad
	}
	return nil
}

// opsForCA makes the secrets that a backend cannot be without.
func (rs Registry) opsForCA(ctx context.Context, mesh string, b *policy.Backend) ([]store.Op, error) {
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		return nil, err
	}
	found := map[string]policy.Resource{}
	var unread error
	made, err := kind.Make(mesh, b, func(name string) bool {
		r, err := rs.Find(ctx, policy.Key{Type: policy.TypeSecret, Mesh: mesh, Name: name})
		unread = errors.Join(unread, err)
		found[name] = r
		return r != nil
	})
	if err := errors.Join(unread, err); err != nil {
		return nil, err
	}
	var ops []store.Op
	for name, data := range made {
		ops = append(ops, store.Op{Put: newSecret(mesh, name, data), Expect: store.AsRead(found[name])})
	}
	return ops, nil
}

// warnings are what somebody who writes this mesh may not have meant.
func (rs Registry) warnings(ctx context.Context, m *policy.Mesh) ([]string, error) {
	dataplanes, err := rs.Store.List(ctx, policy.TypeDataplane, m.Name)
	if err != nil {
		return nil, err
	}
	var all []string
	out := slices.DeleteFunc(dataplanes, func(r policy.Resource) bool { return m.Admit(r.(*policy.Dataplane)) == nil })
	if len(out) > 0 {
		all = append(all, fmt.Sprintf("the constraints of mesh %q put out %s: their sessions end and their certificates are withdrawn", m.Name, names(out)))
	}
	if m.Enabled() == nil {
		return all, nil
	}
	for _, t := range []policy.Type{policy.TypeTrafficPermission, policy.TypeMeshTrafficPermission} {
		permissions, err := rs.Store.List(ctx, t, m.Name)
		if err != nil || len(permissions) > 0 {
			return all, err
		}
	}
	return append(all, fmt.Sprintf("mTLS is on in mesh %q and there is no TrafficPermission: every connection is denied", m.Name)), nil
}

// deleteMesh removes a mesh and all that is in it, unless proxies still are.
func (rs Registry) deleteMesh(ctx context.Context, m policy.Resource) error {
	key := m.Metadata().Key()
	dataplanes, err := rs.Store.List(ctx, policy.TypeDataplane, key.Name)
	if err != nil {
		return err
	}
	if len(dataplanes) > 0 {
		return problem.Conflict(key, fmt.Sprintf("it has Dataplanes %s; end them first", names(dataplanes)))
	}
	ops := []store.Op{{Delete: key, Expect: store.AsRead(m)}}
	for _, t := range policy.TypesInMesh() {
		owned, err := rs.Store.List(ctx, t, key.Name)
		if err != nil {
			return err
		}
		for _, r := range owned {
			ops = append(ops, store.Op{Delete: r.Metadata().Key(), Expect: store.AsRead(r)})
		}
	}
	used, err := rs.usedSerial(ctx, key.Name)
	if err != nil {
		return err
	}
	if used.note != nil {
		ops = append(ops, store.Op{Delete: used.note.Metadata().Key(), Expect: store.AsRead(used.note)})
	}
	if err := rs.Store.Write(ctx, ops...); err != nil {
		return err
	}
	return rs.sweep(ctx, key.Name)
}

// sweep removes what was put into a mesh between the moment when deleteMesh looked and the one when the mesh went.
// Nothing comes after that: every put expects the mesh.
func (rs Registry) sweep(ctx context.Context, mesh string) error {
	for _, t := range policy.TypesInMesh() {
		left, err := rs.Store.List(ctx, t, mesh)
		if err != nil {
			return err
		}
		for _, r := range left {
			err := rs.Store.Write(ctx, store.Op{Delete: r.Metadata().Key(), Expect: store.AsRead(r)})
			if err != nil && !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	return nil
}

// Mesh is the mesh, or a problem that says that there is none.
func (rs Registry) Mesh(ctx context.Context, name string) (*policy.Mesh, error) {
	r, err := rs.Store.Get(ctx, policy.Key{Type: policy.TypeMesh, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		err := problem.Refuse(http.StatusNotFound, "Failed to retrieve Mesh", fmt.Sprintf("there is no mesh %q", name))
		return nil, mistake.New(mistake.MeshMissing, err)
	}
	if err != nil {
		return nil, err
	}
	return r.(*policy.Mesh), nil
}

// Find is the resource, or nil if there is none.
func (rs Registry) Find(ctx context.Context, key policy.Key) (policy.Resource, error) {
	r, err := rs.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

func newSecret(mesh, name string, data []byte) *policy.Secret {
	return &policy.Secret{
		Meta: policy.Meta{Type: policy.TypeSecret, Mesh: mesh, Name: name},
		Data: bytes.Clone(data),
	}
}

// names lists resources for a message, the first few of many.
func names(rs []policy.Resource) string {
	const most = 10
	var list []string
	for _, r := range rs[:min(len(rs), most)] {
		list = append(list, r.Metadata().Name)
	}
	slices.Sort(list)
	s := fmt.Sprintf("%q", list)
	if len(rs) > most {
		s += fmt.Sprintf(" and %d more", len(rs)-most)
	}
	return s
}
