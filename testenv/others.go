package testenv

import (
	"fmt"
	"os"
	"slices"
)

// AddCP starts another control plane on the store of the mesh, which has to be in a Postgres. It ends with the mesh.
func (m *Mesh) AddCP() *ControlPlane {
	m.t.Helper()
	ctx, cancel := m.ctx()
	defer cancel()
	addresses, err := LastingAddresses()
	if err != nil {
		m.t.Fatal(err)
	}
	env := slices.Concat(m.env, addresses)
	dir := m.path("cp", fmt.Sprint(len(m.others)+2))
	if err := os.Mkdir(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	cp, err := StartControlPlane(ctx, dir, env...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.others = append(m.others, cp)
	return cp
}

// At has what f does with the mesh be done with one of its control planes.
func (m *Mesh) At(cp *ControlPlane, f func()) {
	before := m.CP
	m.CP = cp
	defer func() { m.CP = before }()
	f()
}
