package testenv

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"koguma/certs"
	"koguma/policy"
	"koguma/token"
)

// Options say what a mesh is like. The zero value is one without mTLS.
type Options struct {
	MTLS     bool
	LeafLife time.Duration // of the workloads' certificates; 0 is what the control plane chooses
	Drain    time.Duration // how long Envoy lets a connection live whose permission is gone; 0 is a second
	Postgres *Postgres     // where the store is, in a database of its own; nil is a file
}

// Mesh is a control plane, and proxies with real Envoys, for as long as a test takes. Its methods end the test where
// something goes wrong that the test is not about.
type Mesh struct {
	CP *ControlPlane

	t      testing.TB
	o      Options
	dir    string
	env    []string // of the control plane
	files  atomic.Int64
	others []*ControlPlane
	agents []*Sidecar
	bares  []*Bare
}

// New starts a control plane with the mesh "default". When the test ends, everything that was started in the mesh is
// stopped; that an agent ends badly, or leaves a file behind, fails the test.
func New(t testing.TB, o Options) *Mesh {
	t.Helper()
	if err := touchSources(); err != nil {
		t.Fatal(err)
	}
	if o.Drain == 0 {
		o.Drain = time.Second
	}
	// Not t.TempDir: the path of a socket has to be short.
	dir, err := os.MkdirTemp("", "koguma-")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mesh{t: t, o: o, dir: dir}
	t.Cleanup(m.stop)
	for _, sub := range []string{"cp", "agents", "files"} {
		if err := os.Mkdir(m.path(sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if m.env, err = LastingAddresses(); err != nil {
		t.Fatal(err)
	}
	if o.Postgres != nil {
		m.usePostgres()
	}
	m.StartCP()
	if o.MTLS {
		m.TurnOnMTLS("default")
	}
	return m
}

// touchSources looks at all sources. Go keeps the results of tests, and knows that one depends on a file if the test has
// looked at it; that a test depends on the programs that it starts, it does not know.
func touchSources() error {
	root, err := root()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.Stat(path)
		}
		return err
	})
}

// Dir is where all files of the mesh are: the store in cp/koguma.db, what [Mesh.File] wrote in files, and the work folders
// of the agents in agents.
func (m *Mesh) Dir() string { return m.dir }

func (m *Mesh) path(elem ...string) string { return filepath.Join(m.dir, filepath.Join(elem...)) }

// ctx bounds one step of a test.
func (m *Mesh) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.t.Context(), 20*time.Second)
}

// StartCP starts the control plane, again if it was killed: with the same store and the same addresses.
func (m *Mesh) StartCP() {
	m.t.Helper()
	ctx, cancel := m.ctx()
	defer cancel()
	cp, err := StartControlPlane(ctx, m.path("cp"), m.env...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.CP = cp
}

// Kumactl runs kumactl, which must succeed.
func (m *Mesh) Kumactl(args ...string) string {
	m.t.Helper()
	ctx, cancel := m.ctx()
	defer cancel()
	out, err := m.CP.Kumactl(ctx, args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// File writes a file that only we can read, and returns its path.
func (m *Mesh) File(content string) string {
	m.t.Helper()
	path := m.path("files", fmt.Sprint(m.files.Add(1)))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// Apply applies resources in YAML.
func (m *Mesh) Apply(yaml string) {
	m.t.Helper()
	m.Kumactl("apply", "-f", m.File(yaml))
}

// TurnOnMTLS turns mTLS on in a mesh, which is made if it is not there.
func (m *Mesh) TurnOnMTLS(mesh string) {
	m.t.Helper()
	life := m.o.LeafLife
	if life == 0 {
		life = policy.DefaultLeafLife
	}
	m.Apply(fmt.Sprintf(`type: Mesh
name: %s
mtls:
  enabledBackend: ca-1
  backends:
    - name: ca-1
      type: builtin
      dpCert:
        rotation:
          expiration: %v
`, mesh, life))
}

// Permit applies a permission with that name: the sources, separated by blanks, may reach the destination. What it said
// before is replaced.
func (m *Mesh) Permit(name, sources, destination string) {
	m.t.Helper()
	var list strings.Builder
	for _, s := range strings.Fields(sources) {
		fmt.Fprintf(&list, "  - match: {kuma.io/service: %q}\n", s)
	}
	m.Apply(fmt.Sprintf("type: TrafficPermission\nmesh: default\nname: %s\nsources:\n%sdestinations:\n  - match: {kuma.io/service: %q}\n",
		name, list.String(), destination))
}

// Forbid deletes a permission.
func (m *Mesh) Forbid(name string) {
	m.t.Helper()
	m.Kumactl("delete", "traffic-permission", name, "--mesh=default")
}

// Token is a token for a proxy of a mesh with these services.
func (m *Mesh) Token(mesh, name string, services ...string) token.Raw {
	m.t.Helper()
	out := m.Kumactl("generate", "dataplane-token", "--mesh="+mesh, "--name="+name,
		"--tag=kuma.io/service="+strings.Join(services, ","), "--valid-for=720h")
	return token.Raw(strings.TrimSpace(out))
}

// Secret is what is in a secret of a mesh.
func (m *Mesh) Secret(mesh, name string) []byte {
	m.t.Helper()
	var s policy.Secret
	if err := policy.Decode([]byte(m.Kumactl("get", "secret", name, "--mesh="+mesh, "-o=json")), &s); err != nil {
		m.t.Fatal(err)
	}
	return s.Data
}

// Roots are the CA certificates of a mesh that has had its mTLS turned on.
func (m *Mesh) Roots(mesh string) []*x509.Certificate {
	m.t.Helper()
	roots, err := certs.ParseChain(m.Secret(mesh, policy.CACertName(mesh, "ca-1")))
	if err != nil {
		m.t.Fatal(err)
	}
	return roots
}

// Metric is the value of a metric of the control plane.
func (m *Mesh) Metric(name string) (string, error) {
	return metric(m.t.Context(), m.CP.Diagnostics+"/metrics", name)
}

// stop ends everything, the proxies first.
func (m *Mesh) stop() {
	errs := make(chan error)
	for _, s := range m.agents {
		go func() { errs <- s.stop() }()
	}
	for _, b := range m.bares {
		go func() { errs <- b.stop() }()
	}
	var all []error
	for range len(m.agents) + len(m.bares) {
		all = append(all, <-errs)
	}
	if m.CP != nil {
		all = append(all, m.CP.Stop(10*time.Second))
	}
	for _, cp := range m.others {
		all = append(all, cp.Stop(10*time.Second))
	}
	if err := errors.Join(all...); err != nil {
		m.t.Error(err)
	}
	if m.t.Failed() {
		m.logTails()
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

func (m *Mesh) logTails() {
	if m.CP != nil {
		m.t.Log(m.CP.Tail(30))
	}
	for _, s := range m.agents {
		if s.Agent != nil {
			m.t.Log(s.Tail(20))
		}
	}
	for _, b := range m.bares {
		m.t.Log(b.Tail(20))
	}
}
