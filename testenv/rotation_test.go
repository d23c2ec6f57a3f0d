package testenv_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/certs"
	"koguma/policy"
	"koguma/testenv"
)

// turning is a mesh whose CA is rotated while it is under load.
type turning struct {
	*testenv.Mesh
	t            *testing.T
	backend, web *testenv.Sidecar
	load, echo   *testenv.Load
	streams      *testenv.Streams
}

// turn is a mesh that has two CAs, the first of which signs, a certificate that is on the revocation list, and a load of
// requests, of new connections, and of connections that stay open.
func turn(t *testing.T) *turning {
	t.Helper()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("web-to-backend", "web", "backend")
	m.Permit("web-to-db", "web", "db")
	all := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend", "db"}},
		testenv.Proxy{Serves: []string{"thief"}})
	revoke(t, m, all[2].Token)
	r := &turning{Mesh: m, t: t, backend: all[0], web: all[1]}
	settles(t, "web's requests", r.web.Out("backend"), allowed)
	settles(t, "web's connections", r.web.Out("db"), open)
	m.Apply(`type: Mesh
name: default
mtls:
  enabledBackend: ca-1
  backends:
    - {name: ca-1, type: builtin}
    - {name: ca-2, type: builtin}
`)
	r.load = testenv.StartLoad(t.Context(), r.web.Out("backend"), 100)
	r.echo = testenv.StartEchoLoad(t.Context(), r.web.Out("db"), 40)
	r.streams = testenv.StartStreams(t.Context(), r.web.Out("db"), 10)
	return r
}

// trust is where the rotation stands.
func (r *turning) trust() policy.TrustOverview {
	r.t.Helper()
	var v policy.TrustOverview
	if err := policy.Decode([]byte(r.Kumactl("inspect", "mesh", "default", "-o=json")), &v); err != nil {
		r.t.Fatal(err)
	}
	return v
}

// reaches waits until the rotation is in a stage and waits for nobody but these.
func (r *turning) reaches(stage policy.TrustStage, proxies ...string) {
	r.t.Helper()
	want := fmt.Sprint(stage, proxies)
	eventually(r.t, 30*time.Second, "the rotation to come to "+want, func() error {
		v := r.trust()
		var names []string
		for _, b := range v.WaitsFor {
			if b.Proxy != "" {
				names = append(names, b.Proxy)
			}
		}
		if got := fmt.Sprint(v.Stage, names); got != want {
			return fmt.Errorf("it is at %s: %v", got, v.WaitsFor)
		}
		return nil
	})
}

// unharmed ends the load, of which nothing was lost, and checks that all proxies have a certificate of the second CA.
func (r *turning) unharmed() {
	r.t.Helper()
	noneLost(r.t, r.load, 200)
	noneLost(r.t, r.echo, 50)
	for _, s := range r.streams.Spells() {
		if !s.Closed.IsZero() {
			r.t.Errorf("a connection was cut %v after it was opened", s.Closed.Sub(s.Opened))
		}
	}
	r.streams.Stop()
	root, err := certs.ParseChain(r.Secret("default", policy.CACertName("default", "ca-2")))
	if err != nil {
		r.t.Fatal(err)
	}
	for service, address := range map[string]string{"backend": r.backend.In("backend"), "db": r.backend.In("db"), "web": r.web.In("web")} {
		chain, err := testenv.ServerChain(r.t.Context(), address, "")
		if err != nil {
			r.t.Fatal(err)
		}
		if err := verify(r.t, chain, root, "spiffe://default/"+service); err != nil {
			r.t.Errorf("%s: %v", service, err)
		}
	}
	for _, s := range []*testenv.Sidecar{r.backend, r.web} {
		roots, err := s.Admin(r.t.Context(), "/certs")
		if err != nil {
			r.t.Fatal(err)
		}
		if serial := fmt.Sprintf("%x", r.Roots("default")[0].SerialNumber); strings.Contains(roots, serial) {
			r.t.Error("the first CA is still trusted by an Envoy")
		}
	}
}

func (r *turning) signal(s *testenv.Sidecar, sig syscall.Signal) {
	r.t.Helper()
	if err := s.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// A CA is replaced by another under load without the loss of anything, and each stage is shown.
func TestRotateCA(t *testing.T) {
	t.Parallel()
	r := turn(t)
	for _, to := range []string{"ca-2"} {
		goal := r.load.Sent() + 50
		out, err := r.CP.Kumactl(t.Context(), "rotate", "ca", "--to="+to, "--wait", "--timeout=60s")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out, "settled: "+to+" signs, and nothing else is trusted\n") {
			t.Errorf("it says %s", out)
		}
		eventually(t, 10*time.Second, "requests to be sent", func() error {
			if got := r.load.Sent(); got < goal {
				return fmt.Errorf("%d of %d", got, goal)
			}
			return nil
		})
	}
	eventually(t, 2*time.Second, "the log to have a line for each stage", func() error {
		if got := strings.Count(r.CP.Output(), `msg="trust of the mesh"`); got != 1+4 {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
	r.unharmed()
}

// Whoever is stopped is named, and nothing goes on without it, whatever stage it is and although the control plane is
// killed and started again; when it goes on, so does the rotation.
func TestRotateCAWaits(t *testing.T) {
	t.Parallel()
	r := turn(t)
	t.Cleanup(func() {
		for _, s := range []*testenv.Sidecar{r.backend, r.web} {
			s.Signal(syscall.SIGCONT) // else it could not be ended
		}
	})
	holds := func(stage policy.TrustStage, proxy string) {
		t.Helper()
		r.reaches(stage, proxy)
		r.CP.Kill()
		r.StartCP()
		r.reaches(stage, proxy)
		if b := r.trust().WaitsFor; len(b) != 1 || !strings.Contains(b[0].Why, "not connected since") || b[0].Until.IsZero() {
			t.Errorf("it waits for %v", b)
		}
	}
	r.signal(r.backend, syscall.SIGSTOP)
	r.Kumactl("rotate", "ca", "--to=ca-2")
	holds(policy.StageTrustBoth, "backend-1")
	r.signal(r.web, syscall.SIGSTOP)
	r.signal(r.backend, syscall.SIGCONT)
	holds(policy.StageIssue, "web-1")
	r.signal(r.backend, syscall.SIGSTOP)
	r.signal(r.web, syscall.SIGCONT)
	holds(policy.StageDrop, "backend-1")
	r.signal(r.backend, syscall.SIGCONT)
	r.reaches(policy.StageSettled)
	r.unharmed()
}
