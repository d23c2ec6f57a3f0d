package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"koguma/envoy"
	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
)

// starts is how often each way to start is measured.
const starts = 10

// measureStart measures how long it takes from the start of `kuma-dp run` to the first request that its Envoy carries
// under mTLS, and the same for an Envoy alone that has all of that configuration in a file.
func measureStart(ctx context.Context, r *report) (err error) {
	dir, err := os.MkdirTemp("", "koguma-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := prepareStart(ctx, dir)
	defer s.stop()
	if err != nil {
		return err
	}
	static, err := s.staticBootstrap(ctx)
	if err != nil {
		return err
	}
	for range starts {
		// In turn, so that whatever else the machine does falls on both.
		if err := s.startEnvoy(ctx, static, r); err != nil {
			return fmt.Errorf("envoy alone: %w", err)
		}
		if err := s.startAgent(ctx, r); err != nil {
			return fmt.Errorf("kuma-dp: %w", err)
		}
	}
	return nil
}

// start is a mesh with a backend, and what a proxy of web needs that can be started again and again.
type start struct {
	dir      string
	cp       *testenv.ControlPlane
	workload *testenv.Workload
	backend  *testenv.Agent
	web      *policy.Dataplane
	token    token.Raw
}

func (s *start) path(name string) string { return filepath.Join(s.dir, name) }

func (s *start) stop() {
	if s.backend != nil {
		s.backend.Kill()
	}
	if s.workload != nil {
		s.workload.Close()
	}
	if s.cp != nil {
		s.cp.Kill()
	}
}

const permissionYAML = `---
type: TrafficPermission
mesh: default
name: web-to-backend
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
`

func prepareStart(ctx context.Context, dir string) (*start, error) {
	s := &start{dir: dir}
	if err := os.Mkdir(s.path("cp"), 0o700); err != nil {
		return s, err
	}
	var err error
	if s.cp, err = testenv.StartControlPlane(ctx, s.path("cp")); err != nil {
		return s, err
	}
	if s.workload, err = testenv.ServeHTTP("backend"); err != nil {
		return s, err
	}
	if err := os.WriteFile(s.path("mesh.yaml"), []byte(meshYAML+permissionYAML), 0o600); err != nil {
		return s, err
	}
	if _, err := s.cp.Kumactl(ctx, "apply", "-f", s.path("mesh.yaml")); err != nil {
		return s, err
	}
	raw, err := s.cp.Kumactl(ctx, "generate", "dataplane-token", "--mesh="+mesh, "--valid-for=1h")
	if err != nil {
		return s, err
	}
	s.token = token.Raw(raw)
	if err := os.WriteFile(s.path("token"), []byte(raw), 0o600); err != nil {
		return s, err
	}
	address := testenv.Loopback()
	ports, err := testenv.FreePorts(address, 3)
	if err != nil {
		return s, err
	}
	backend := service("backend", address, ports[0], s.workload.Port())
	s.web = service("web", address, ports[1], s.workload.Port())
	s.web.Networking.Outbound = []policy.Outbound{{
		Address: address, Port: ports[2], Tags: map[string]string{policy.TagService: "backend"}}}
	if s.backend, err = s.run(backend); err != nil {
		return s, err
	}
	if err := s.writeDataplane(s.web); err != nil {
		return s, err
	}
	return s, s.backend.AwaitReady(ctx)
}

// service is the Dataplane of a service.
func service(name, address string, inbound, workload int) *policy.Dataplane {
	return &policy.Dataplane{
		Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: mesh, Name: name + "-1"},
		Networking: policy.Networking{Address: address, Inbound: []policy.Inbound{{
			Port: inbound, ServicePort: workload,
			Tags: map[string]string{policy.TagService: name, policy.TagProtocol: string(policy.ProtocolHTTP)},
		}}},
	}
}

func (s *start) writeDataplane(d *policy.Dataplane) error {
	doc, err := policy.EncodeYAML(d)
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(d.Name+".yaml"), doc, 0o600)
}

// run starts a kuma-dp.
func (s *start) run(d *policy.Dataplane) (*testenv.Agent, error) {
	if err := s.writeDataplane(d); err != nil {
		return nil, err
	}
	return testenv.StartAgent("kuma-dp of "+d.Name, s.path(d.Name), "--cp-address="+s.cp.DP,
		"--dataplane-token-file="+s.path("token"), "--dataplane-file="+s.path(d.Name+".yaml"), "--drain-time=0s")
}

// staticBootstrap is the bootstrap of an Envoy that has from the beginning what a proxy of web gets from the control
// plane.
func (s *start) staticBootstrap(ctx context.Context) ([]byte, error) {
	events := make(chan event, 10)
	p, err := newProxy(s.web, events, new(atomic.Int64))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx, s.cp, s.token) }()
	select {
	case e := <-events:
		err = e.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	<-done
	if err != nil {
		return nil, err
	}
	return staticBootstrap(p.resources, s.path("admin.sock"))
}

func (s *start) startEnvoy(ctx context.Context, bootstrap []byte, r *report) error {
	binary, err := testenv.Envoy()
	if err != nil {
		return err
	}
	begin := time.Now()
	e, err := envoy.Start(envoy.Config{
		Binary: binary, Bootstrap: bootstrap, Dir: s.path("envoy"), AdminSocket: s.path("admin.sock")})
	if err != nil {
		return err
	}
	defer e.Stop(5 * time.Second)
	if err := s.request(ctx, e.Done()); err != nil {
		return errors.Join(err, e.Err())
	}
	r.add(envoyStart, ms(time.Since(begin)))
	return nil
}

func (s *start) startAgent(ctx context.Context, r *report) error {
	begin := time.Now()
	a, err := s.run(s.web)
	if err != nil {
		return err
	}
	defer a.Kill()
	if err := s.request(ctx, a.Done()); err != nil {
		return fmt.Errorf("%w\n%s", err, a.Tail(10))
	}
	r.add(agentStart, ms(time.Since(begin)))
	if err := a.AwaitReady(ctx); err != nil {
		return err
	}
	memory, err := testenv.Memory(a.PID())
	r.add(agentMemory, mib(memory))
	return errors.Join(err, a.Stop(10*time.Second))
}

// request tries until a request through web's Envoy reaches backend.
func (s *start) request(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%v/", s.web.Networking.Outbound[0].Listen())
	return testenv.Eventually(ctx, "the first request", func() error {
		select {
		case <-ended:
			cancel()
		default:
		}
		status, body, err := testenv.Get(ctx, url)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
}
