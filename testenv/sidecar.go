package testenv

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"koguma/policy"
	"koguma/token"
)

// Proxy says what a proxy is to be like.
type Proxy struct {
	// Serves are its services, the first of which it is towards others: "backend", or "database:tcp" for one that does
	// not speak HTTP, "api:grpc" for one that speaks HTTP/2. Each has a workload of its own. One at least.
	Serves []string
	Dials  []string          // the services that it has an outbound for
	Name   string            // "": the first service and "-1"
	Tags   map[string]string // of each inbound, besides service and protocol
	Args   []string          // for the agent, after all others
}

// Node is what a test knows of a proxy: where it listens, and how it shows who it is.
type Node struct {
	Dataplane *policy.Dataplane
	Token     token.Raw
	Address   string // its own, among those of this machine

	workloads []*Workload
}

// In is where Envoy listens for a service.
func (n *Node) In(service string) string {
	i := slices.IndexFunc(n.Dataplane.Networking.Inbound, func(in policy.Inbound) bool { return in.Service() == service })
	return n.at(n.Dataplane.Networking.Inbound[i].Port)
}

// Out is where Envoy listens for requests of the workload to a service.
func (n *Node) Out(service string) string {
	i := slices.IndexFunc(n.Dataplane.Networking.Outbound, func(o policy.Outbound) bool { return o.Service() == service })
	return n.at(n.Dataplane.Networking.Outbound[i].Port)
}

func (n *Node) at(port int) string { return net.JoinHostPort(n.Address, strconv.Itoa(port)) }

func (n *Node) close() error {
	var errs []error
	for _, w := range n.workloads {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}

// Node makes what a proxy needs before it can be started: an address, workloads, a token.
func (m *Mesh) Node(p Proxy) *Node {
	m.t.Helper()
	n := &Node{Address: Loopback()}
	ports, err := FreePorts(n.Address, len(p.Serves)+len(p.Dials))
	if err != nil {
		m.t.Fatal(err)
	}
	name := p.Name
	if name == "" {
		first, _, _ := strings.Cut(p.Serves[0], ":")
		name = first + "-1"
	}
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: name}}
	d.Networking.Address = n.Address
	for i, s := range p.Serves {
		service, protocol, _ := strings.Cut(s, ":")
		protocol = cmp.Or(protocol, "http")
		serve := func() (*Workload, error) { return ServeHTTP(name) }
		if protocol == "tcp" {
			serve = ServeTCP
		}
		w, err := serve()
		if err != nil {
			m.t.Fatal(err)
		}
		n.workloads = append(n.workloads, w)
		d.Networking.Inbound = append(d.Networking.Inbound, policy.Inbound{
			Port: ports[i], ServicePort: w.Port(),
			Tags: map[string]string{policy.TagService: service, policy.TagProtocol: protocol},
		})
		maps.Copy(d.Networking.Inbound[i].Tags, p.Tags)
	}
	for i, service := range p.Dials {
		d.Networking.Outbound = append(d.Networking.Outbound, policy.Outbound{
			Address: n.Address, Port: ports[len(p.Serves)+i], Tags: map[string]string{policy.TagService: service},
		})
	}
	n.Dataplane = d
	n.Token = m.Token("default", name, d.Services()...)
	return n
}

// Sidecar is an agent with its Envoy, and the workloads beside it.
type Sidecar struct {
	*Agent
	*Node

	TokenFile string // from which the agent reads its token

	mesh   *Mesh
	name   string
	args   []string
	killed bool
}

// Start starts proxies, each with an agent, and returns when all are ready.
func (m *Mesh) Start(proxies ...Proxy) []*Sidecar {
	m.t.Helper()
	var all []*Sidecar
	for _, p := range proxies {
		all = append(all, m.Launch(p))
	}
	for _, s := range all {
		s.AwaitReady()
	}
	return all
}

// Launch starts a proxy with an agent, and does not wait for it.
func (m *Mesh) Launch(p Proxy) *Sidecar {
	m.t.Helper()
	s := m.Prepare(p)
	s.Launch()
	return s
}

// Prepare makes a proxy with an agent that can be launched.
func (m *Mesh) Prepare(p Proxy) *Sidecar {
	m.t.Helper()
	n := m.Node(p)
	definition, err := policy.EncodeYAML(n.Dataplane)
	if err != nil {
		m.t.Fatal(err)
	}
	s := &Sidecar{Node: n, TokenFile: m.File(string(n.Token)), mesh: m, name: n.Dataplane.Name}
	s.args = append([]string{
		"--cp-address=" + m.CP.DP,
		"--dataplane-token-file=" + s.TokenFile,
		"--dataplane-file=" + m.File(string(definition)),
		"--concurrency=1", "--drain-time=1s",
		fmt.Sprint("--envoy-drain-time=", m.o.Drain),
	}, p.Args...)
	m.agents = append(m.agents, s)
	return s
}

// Launch starts the agent, again if it was killed: in the same work folder.
func (s *Sidecar) Launch() {
	s.mesh.t.Helper()
	dir := s.mesh.path("agents", strconv.Itoa(slices.Index(s.mesh.agents, s)))
	a, err := StartAgent("kuma-dp of "+s.name, dir, s.args...)
	if err != nil {
		s.mesh.t.Fatal(err)
	}
	s.Agent = a
}

// AwaitReady waits until the agent says that it is ready.
func (s *Sidecar) AwaitReady() {
	s.mesh.t.Helper()
	ctx, cancel := s.mesh.ctx()
	defer cancel()
	if err := s.Agent.AwaitReady(ctx); err != nil {
		s.mesh.t.Fatal(err)
	}
}

// Crash kills the agent, and only the agent, as a crash of it would.
func (s *Sidecar) Crash() {
	s.mesh.t.Helper()
	s.killed = true
	if err := s.Signal(os.Kill); err != nil {
		s.mesh.t.Fatal(err)
	}
	<-s.Done()
}

// stop ends the agent and says what it should not have left. One that was killed could not clean up after itself.
func (s *Sidecar) stop() error {
	err := s.close()
	if s.Agent == nil {
		return err
	}
	err = errors.Join(err, s.Stop(10*time.Second))
	if left, _ := filepath.Glob(s.Dir + "*"); len(left) > 0 && !s.killed {
		err = errors.Join(err, fmt.Errorf("%s left files behind: %v", s.Agent.Name(), left))
	}
	return err
}
