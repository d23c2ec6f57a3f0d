package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"koguma/cp/ledger"
	"koguma/cp/problem"
	"koguma/policy"
	"koguma/store"
)

// trustOf is whom the mesh trusts, nil if that is nobody.
func (rs Registry) trustOf(ctx context.Context, mesh string) (*policy.Trust, error) {
	r, err := rs.Find(ctx, policy.Key{Type: policy.TypeTrust, Mesh: mesh, Name: mesh})
	t, _ := r.(*policy.Trust)
	return t, err
}

// opsForTrust refuses a mesh that lacks a backend that still signs, or whose certificates live. By force they are not
// trusted any more, and who has one is cut off: those are returned.
func (rs Registry) opsForTrust(ctx context.Context, m *policy.Mesh, old policy.Resource) (ops []store.Op, cut []string, err error) {
	if m.Enabled() == nil {
		return nil, nil, nil // nobody is verified
	}
	t, err := rs.trustOf(ctx, m.Name)
	if err != nil {
		return nil, nil, err
	}
	if t == nil {
		was, ok := old.(*policy.Mesh)
		if b := enabledOf(was); ok && b != nil && !has(m, b.Name) && !rs.Force {
			return nil, nil, problem.Conflict(m.Key(), stillNeeded(m, b.Name, []string{"it signs"}))
		}
		return nil, nil, nil
	}
	n := *t
	n.Authorities = nil
	for _, a := range t.Authorities {
		if has(m, a.Backend) {
			n.Authorities = append(n.Authorities, a)
			continue
		}
		users, err := rs.usersOf(ctx, m.Name, &a)
		if err != nil {
			return nil, nil, err
		}
		if a.Fingerprint == t.Issuing {
			users = append([]string{"it signs"}, users...)
		}
		switch {
		case len(users) == 0: // it goes in its own time
			n.Authorities = append(n.Authorities, a)
		case !rs.Force:
			return nil, nil, problem.Conflict(m.Key(), stillNeeded(m, a.Backend, users))
		}
		cut = append(cut, users...)
	}
	if len(n.Authorities) < len(t.Authorities) {
		ops = []store.Op{{Put: &n, Expect: store.AsRead(t)}}
	}
	return ops, cut, nil
}

func enabledOf(m *policy.Mesh) *policy.Backend {
	if m == nil {
		return nil
	}
	return m.Enabled()
}

// has reports whether the mesh has a backend of that name.
func has(m *policy.Mesh, backend string) bool {
	return slices.ContainsFunc(m.MTLS.Backends, func(b policy.Backend) bool { return b.Name == backend })
}

// stillNeeded says why a backend cannot go, and what to do.
func stillNeeded(m *policy.Mesh, backend string, why []string) string {
	return fmt.Sprintf("backend %q is still needed: %s. Leave it in mtls.backends, go on with kumactl rotate ca --mesh %s --to %s --wait, "+
		"and take it away when that is done; with --force it goes at once, and who depends on it is cut off",
		backend, strings.Join(why, "; "), m.Name, m.Enabled().Name)
}

// usersOf is who has a certificate of an authority that has not ended, by what the store says, the first few of many.
func (rs Registry) usersOf(ctx context.Context, mesh string, a *policy.TrustedAuthority) ([]string, error) {
	const most = 10
	book := ledger.New(rs.Store)
	for _, t := range []policy.Type{policy.TypeIssuance, policy.TypeWithdrawals} {
		pages, err := rs.Store.List(ctx, t, mesh)
		if err != nil {
			return nil, err
		}
		for _, p := range pages {
			book.Apply(store.Event{Key: p.Metadata().Key(), Resource: p}, func(string, string) bool { return false })
		}
	}
	living, _ := book.Living(mesh, time.Now())
	var users []string
	for name, certificates := range living {
		if i := slices.IndexFunc(certificates, func(c policy.IssuedCertificate) bool { return c.Authority == a.Fingerprint }); i >= 0 {
			users = append(users, fmt.Sprintf("%s has a certificate that ends %s", name, policy.Moment(certificates[i].NotAfter)))
		}
	}
	slices.Sort(users)
	if n := len(users); n > most {
		users = append(users[:most], fmt.Sprintf("and %d more", n-most))
	}
	return users, nil
}

// trustedBackends are the backends whose keys must stay: those that are trusted, and the one that is enabled.
func (rs Registry) trustedBackends(ctx context.Context, m *policy.Mesh) ([]string, error) {
	b := m.Enabled()
	if b == nil {
		return nil, nil
	}
	names := []string{b.Name}
	t, err := rs.trustOf(ctx, m.Name)
	if err != nil || t == nil {
		return names, err
	}
	for _, a := range t.Authorities {
		names = append(names, a.Backend)
	}
	return names, nil
}

// Rotate has another backend of the mesh sign.
func (rs Registry) Rotate(ctx context.Context, mesh, to string) error {
	return store.Again(func() error {
		m, err := rs.Mesh(ctx, mesh)
		if err != nil {
			return err
		}
		switch {
		case m.Enabled() == nil:
			return problem.Conflict(m.Key(), "mTLS is off; enable a backend with kumactl apply")
		case !has(m, to):
			return problem.Parameter("to", fmt.Sprintf("mesh %q has no backend %q in mtls.backends; add it with kumactl apply first", mesh, to))
		case m.Enabled().Name == to:
			return nil
		}
		next := *m
		mtls := *m.MTLS
		mtls.EnabledBackend = to
		next.MTLS = &mtls
		ops, err := rs.opsFor(ctx, &next, m, nil)
		if err != nil {
			return err
		}
		return rs.Store.Write(ctx, append(ops, store.Op{Put: &next, Expect: store.AsRead(m)})...)
	})
}
