package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"koguma/agent"
	"koguma/certs"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

const timeout = 20 * time.Second

// running is an agent under test.
type running struct {
	t      testing.TB
	agent  *agent.Agent
	dir    string // its work directory
	log    *buffer
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// web is a Dataplane with the services, the first of which is what it is towards others.
func web(services ...string) *policy.Dataplane {
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: "web-1"}}
	d.Networking.Address = "127.0.0.1"
	for i, s := range services {
		d.Networking.Inbound = append(d.Networking.Inbound, policy.Inbound{
			Port: 10001 + i, ServicePort: 20001 + i, Tags: map[string]string{policy.TagService: s},
		})
	}
	return d
}

// config is that of an agent for a Dataplane web-1 whose Envoy is a program that does nothing: the test speaks in its
// place.
func config(t testing.TB, cp *fakeCP) agent.Config {
	t.Helper()
	idle := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(idle, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return agent.Config{
		CPAddresses: []string{cp.address}, Dataplane: web("web"), EnvoyBinary: idle, Version: "1.2.3",
		Token: newToken(t, token.Claims{Name: "web-1", Pin: certs.Pin(cp.serverCA.Certificate())}),
	}
}

func start(t testing.TB, cfg agent.Config) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "dp") // t.TempDir would be too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, dir: dir, log: new(buffer), done: make(chan struct{})}
	cfg.WorkDir = r.dir
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	cfg.Stdout, cfg.Stderr = r.log, r.log
	if r.agent, err = agent.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { defer close(r.done); r.err = r.agent.Run(ctx) }()
	t.Cleanup(func() {
		r.cancel()
		<-r.done
		if left, err := os.ReadDir(r.dir); err != nil || len(left) > 0 {
			t.Errorf("left behind in the work directory: %v %v", left, err)
		}
		if err := os.RemoveAll(r.dir); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the agent:\n%s", r.log)
		}
	})
	return r
}

// wait is the error of Run.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(timeout):
		r.t.Fatal("the agent does not end")
		return nil
	}
}

// eventually waits for f to say nothing.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// envoyClient is a stream to an agent, as its Envoy has one.
type envoyClient struct {
	t         testing.TB
	conn      *grpc.ClientConn
	stream    discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	responses chan *discoveryv3.DiscoveryResponse
	waiting   []*discoveryv3.DiscoveryResponse
	taken     map[string]string // version by type
	names     map[string][]string
	close     func()
}

// envoy connects to the agent's socket.
func (r *running) envoy() *envoyClient {
	r.t.Helper()
	var socket string
	eventually(r.t, func() error {
		found, err := filepath.Glob(filepath.Join(r.dir, "kuma-dp-*", "ads.sock"))
		if err != nil || len(found) != 1 {
			return errors.New("no socket for envoy")
		}
		socket = found[0]
		return nil
	})
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		r.t.Fatal(err)
	}
	c := &envoyClient{
		t: r.t, conn: conn, stream: stream, responses: make(chan *discoveryv3.DiscoveryResponse, 100), taken: map[string]string{},
		names: map[string][]string{},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			c.responses <- resp
		}
	}()
	c.close = sync.OnceFunc(func() { cancel(); conn.Close(); <-done })
	r.t.Cleanup(c.close)
	return c
}

func (c *envoyClient) send(r *discoveryv3.DiscoveryRequest) {
	c.t.Helper()
	r.Node = &corev3.Node{Id: "default.web-1"}
	r.ResourceNames = c.names[r.TypeUrl]
	r.VersionInfo = c.taken[r.TypeUrl]
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *envoyClient) ask(typ string, names ...string) {
	c.t.Helper()
	c.names[typ] = names
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: typ})
}

func (c *envoyClient) ack(r *discoveryv3.DiscoveryResponse) {
	c.t.Helper()
	c.taken[r.TypeUrl] = r.VersionInfo
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce})
}

func (c *envoyClient) nack(r *discoveryv3.DiscoveryResponse, reason string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce, ErrorDetail: &statuspb.Status{Code: 3, Message: reason},
	})
}

// next is the next response of that type.
func (c *envoyClient) next(typ string) *discoveryv3.DiscoveryResponse {
	c.t.Helper()
	for i, r := range c.waiting {
		if r.TypeUrl == typ {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return r
		}
	}
	deadline := time.After(timeout)
	for {
		select {
		case r := <-c.responses:
			if r.TypeUrl == typ {
				return r
			}
			c.waiting = append(c.waiting, r)
		case <-deadline:
			c.t.Fatalf("no %s from the agent", typ)
		}
	}
}

// none fails if something arrives within a while.
func (c *envoyClient) none(d time.Duration) {
	c.t.Helper()
	select {
	case r := <-c.responses:
		c.t.Errorf("the agent sent %s %s, although nothing has changed", r.TypeUrl, r.VersionInfo)
	case <-time.After(d):
	}
}

// takeAll asks for everything and takes it, in Envoy's order: for the secrets of listeners before it says that it has these.
func (c *envoyClient) takeAll(secrets ...string) {
	c.t.Helper()
	c.ask(xds.TypeCluster)
	c.ack(c.next(xds.TypeCluster))
	c.ask(xds.TypeListener)
	listeners := c.next(xds.TypeListener)
	if len(secrets) > 0 {
		c.ask(xds.TypeSecret, secrets...)
	}
	c.ack(listeners)
}

// secret is the secret with that name, from as many responses as it takes. All are taken.
func (c *envoyClient) secret(name string) *tlsv3.Secret {
	c.t.Helper()
	for {
		r := c.next(xds.TypeSecret)
		c.ack(r)
		for _, packed := range r.Resources {
			var s tlsv3.Secret
			if err := packed.UnmarshalTo(&s); err != nil {
				c.t.Fatal(err)
			}
			if s.Name == name {
				return &s
			}
		}
	}
}

// namesIn are the names of a response's resources.
func namesIn(t testing.TB, r *discoveryv3.DiscoveryResponse) string {
	t.Helper()
	var names []string
	for _, packed := range r.Resources {
		m, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *endpointv3.ClusterLoadAssignment:
			names = append(names, m.ClusterName)
		case interface{ GetName() string }:
			names = append(names, m.GetName())
		}
	}
	return strings.Join(names, " ")
}

func resourceOf(t testing.TB, name string, m proto.Message) *xds.Resource {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return xds.NewResource(name, body)
}

func edsCluster(t testing.TB, name string) *xds.Resource {
	return resourceOf(t, name, &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
	})
}

func endpoints(t testing.TB, name string) *xds.Resource {
	return resourceOf(t, name, &endpointv3.ClusterLoadAssignment{ClusterName: name})
}

func listener(t testing.TB, name, stat string) *xds.Resource {
	return resourceOf(t, name, &listenerv3.Listener{Name: name, StatPrefix: stat})
}

func caSecret(t testing.TB, ca *certs.CA) *xds.Resource {
	name := xds.CASecretName("default")
	return resourceOf(t, name, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineBytes{InlineBytes: ca.CertPEM()},
		}},
	}})
}
