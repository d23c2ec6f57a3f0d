package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/certs"
	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
	"koguma/xds"
)

// proxy is as much of an Envoy as the control plane can see of one that dials it without an agent: a TLS connection, a
// state-of-the-world ADS stream, an acknowledgement of everything, and no CSR, so that the control plane makes its key.
type proxy struct {
	node   *corev3.Node
	events chan<- event
	heard  *atomic.Int64 // counts the responses that came

	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	// resources are the newest of each type. Only the proxy's own goroutine touches them, and they are the caller's
	// when it has ended.
	resources map[string][]*anypb.Any
	ready     bool
}

// event is something that a proxy has seen.
type event struct {
	proxy *proxy
	at    time.Time
	mark  string // what the new listeners were marked with; "" is that the proxy has all it needs
	err   error  // the stream has ended, and nobody asked for it
}

// markPrefix begins the name of a source service that exists only so that a listener can be told from the one before.
const markPrefix = "mark-"

// markLength is the length of a mark: the prefix and a number of four digits.
const markLength = len(markPrefix) + 4

func newProxy(d *policy.Dataplane, events chan<- event, heard *atomic.Int64) (*proxy, error) {
	resource, err := policy.Encode(d)
	if err != nil {
		return nil, err
	}
	node := &corev3.Node{
		Id:      d.Mesh + "." + d.Name,
		Cluster: d.Services()[0],
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"dataplane.resource": structpb.NewStringValue(string(resource)),
		}},
	}
	return &proxy{node: node, events: events, heard: heard, resources: map[string][]*anypb.Any{}}, nil
}

// run connects to the control plane and stays connected until ctx is done.
func (p *proxy) run(ctx context.Context, cp *testenv.ControlPlane, raw token.Raw) {
	if err := p.serve(ctx, cp, raw); ctx.Err() == nil {
		p.events <- event{proxy: p, err: fmt.Errorf("proxy %s: %w", p.node.Id, err)}
	}
}

func (p *proxy) serve(ctx context.Context, cp *testenv.ControlPlane, raw token.Raw) error {
	conn, err := dial(cp, raw)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", string(raw))
	p.stream, err = discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	for _, first := range []*discoveryv3.DiscoveryRequest{
		{Node: p.node, TypeUrl: xds.TypeCluster},
		{TypeUrl: xds.TypeListener},
		{TypeUrl: xds.TypeSecret, ResourceNames: secretNames()},
	} {
		if err := p.stream.Send(first); err != nil {
			return err
		}
	}
	for {
		resp, err := p.stream.Recv()
		if err != nil {
			return err
		}
		if err := p.take(resp); err != nil {
			return err
		}
	}
}

func secretNames() []string {
	return []string{xds.IdentitySecretName(mesh, "", true), xds.CASecretName(mesh)}
}

// dial connects with buffers as small as they can be: there are many of us in this process.
func dial(cp *testenv.ControlPlane, raw token.Raw) (*grpc.ClientConn, error) {
	claims, err := token.Inspect(raw)
	if err != nil {
		return nil, err
	}
	server, err := url.Parse(cp.DP)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+server.Host,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			ServerName:         certs.ServerName,
			InsecureSkipVerify: true, // VerifyConnection does it, by the pin
			VerifyConnection:   certs.VerifyPinned(claims.Pin),
		})),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10))
}

// take acknowledges a response, asks for what it leads to, and tells what has come of it.
func (p *proxy) take(resp *discoveryv3.DiscoveryResponse) error {
	p.heard.Add(1)
	p.resources[resp.TypeUrl] = resp.Resources
	var names []string
	switch resp.TypeUrl {
	case xds.TypeSecret:
		names = secretNames()
	case xds.TypeEndpoint:
		var err error
		if names, err = p.endpointNames(); err != nil {
			return err
		}
	}
	ack := &discoveryv3.DiscoveryRequest{
		TypeUrl: resp.TypeUrl, VersionInfo: resp.VersionInfo, ResponseNonce: resp.Nonce, ResourceNames: names}
	if err := p.stream.Send(ack); err != nil {
		return err
	}
	if _, known := p.resources[xds.TypeEndpoint]; resp.TypeUrl == xds.TypeCluster && !known {
		names, err := p.endpointNames()
		if err != nil {
			return err
		}
		if err := p.stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: xds.TypeEndpoint, ResourceNames: names}); err != nil {
			return err
		}
	}
	return p.tell(resp)
}

func (p *proxy) tell(resp *discoveryv3.DiscoveryResponse) error {
	if !p.ready {
		names, err := p.endpointNames()
		if err != nil {
			return err
		}
		p.ready = len(p.resources[xds.TypeListener]) > 0 && len(p.resources[xds.TypeSecret]) == len(secretNames()) &&
			len(names) > 0 && len(p.resources[xds.TypeEndpoint]) == len(names)
		if p.ready {
			p.events <- event{proxy: p, at: time.Now()}
		}
		return nil
	}
	if resp.TypeUrl != xds.TypeListener {
		return nil
	}
	for _, l := range resp.Resources {
		if i := bytes.Index(l.Value, []byte(markPrefix)); i >= 0 && len(l.Value) >= i+markLength {
			p.events <- event{proxy: p, at: time.Now(), mark: string(l.Value[i : i+markLength])}
		}
	}
	return nil
}

// endpointNames are the clusters whose endpoints come by EDS, of those that the proxy has, sorted.
func (p *proxy) endpointNames() ([]string, error) {
	var names []string
	for _, r := range p.resources[xds.TypeCluster] {
		var c clusterv3.Cluster
		if err := proto.Unmarshal(r.Value, &c); err != nil {
			return nil, err
		}
		if c.GetType() == clusterv3.Cluster_EDS {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
