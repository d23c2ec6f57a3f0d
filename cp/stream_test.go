package cp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/token"
	"koguma/xds"
)

// stream is an ADS stream as a proxy has it. It accepts what it gets, unless the test says otherwise.
type stream struct {
	t      *testing.T
	ads    ads
	cancel context.CancelFunc
	names  map[string][]string // that it asks for, by type
}

// ads is one of the two variants of the protocol.
type ads interface {
	send(ask) error
	recv() (update, error)
	CloseSend() error
}

// ask is a request: for these names, or for all if there are none.
type ask struct {
	typ    string
	names  []string
	before []string // what it asked for until now
	first  bool     // of its type
	node   *corev3.Node
	answer update // to what; its nonce is "" where it answers nothing
	reason string // of the refusal
}

// update is a response: the resources in it by their names.
type update struct {
	typ, version, nonce string
	resources           map[string]proto.Message
	removed             []string
}

type sotw struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (w sotw) send(a ask) error {
	r := &discoveryv3.DiscoveryRequest{
		TypeUrl: a.typ, ResourceNames: a.names, Node: a.node, ResponseNonce: a.answer.nonce, VersionInfo: a.answer.version,
	}
	if a.reason != "" {
		r.VersionInfo, r.ErrorDetail = "", &rpcstatus.Status{Message: a.reason}
	}
	return w.Send(r)
}

func (w sotw) recv() (update, error) {
	r, err := w.Recv()
	if err != nil {
		return update{}, err
	}
	u := update{typ: r.TypeUrl, version: r.VersionInfo, nonce: r.Nonce, resources: map[string]proto.Message{}}
	for _, a := range r.Resources {
		if err := u.add(a.Value); err != nil {
			return u, err
		}
	}
	return u, nil
}

type delta struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (w delta) send(a ask) error {
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: a.typ, Node: a.node, ResponseNonce: a.answer.nonce}
	if a.reason != "" {
		r.ErrorDetail = &rpcstatus.Status{Message: a.reason}
	}
	for _, n := range a.names {
		if a.first || !slices.Contains(a.before, n) {
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, n)
		}
	}
	for _, n := range a.before {
		if !slices.Contains(a.names, n) {
			r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, n)
		}
	}
	return w.Send(r)
}

func (w delta) recv() (update, error) {
	r, err := w.Recv()
	if err != nil {
		return update{}, err
	}
	u := update{typ: r.TypeUrl, nonce: r.Nonce, removed: r.RemovedResources, resources: map[string]proto.Message{}}
	for _, res := range r.Resources {
		if err := u.add(res.Resource.Value); err != nil {
			return u, err
		}
	}
	return u, nil
}

// add reads one resource.
func (u *update) add(body []byte) error {
	var m proto.Message
	var name func() string
	switch u.typ {
	case xds.TypeCluster:
		c := new(clusterv3.Cluster)
		m, name = c, c.GetName
	case xds.TypeEndpoint:
		e := new(endpointv3.ClusterLoadAssignment)
		m, name = e, e.GetClusterName
	case xds.TypeListener:
		l := new(listenerv3.Listener)
		m, name = l, l.GetName
	case xds.TypeSecret:
		s := new(tlsv3.Secret)
		m, name = s, s.GetName
	default:
		return fmt.Errorf("a resource of type %q", u.typ)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return err
	}
	u.resources[name()] = m
	return nil
}

// secret is a secret in the update.
func (u update) secret(t *testing.T, name string) *tlsv3.TlsCertificate {
	t.Helper()
	s, ok := u.resources[name].(*tlsv3.Secret)
	if !ok || s.GetTlsCertificate() == nil {
		t.Fatalf("no certificate called %q in %v", name, u.resources)
	}
	return s.GetTlsCertificate()
}

// addresses are the endpoints of a cluster in the update.
func (u update) addresses(t *testing.T, cluster string) string {
	t.Helper()
	e, ok := u.resources[cluster].(*endpointv3.ClusterLoadAssignment)
	if !ok {
		t.Fatalf("no endpoints of %q in %v", cluster, u.resources)
	}
	var all []string
	for _, l := range e.Endpoints {
		for _, ep := range l.LbEndpoints {
			a := ep.GetEndpoint().GetAddress().GetSocketAddress()
			all = append(all, fmt.Sprintf("%s:%d", a.GetAddress(), a.GetPortValue()))
		}
	}
	return strings.Join(all, " ")
}

// variants of ADS, by name.
var variants = []string{"sotw", "delta"}

// open opens a stream of a variant with these values of the authorization metadata, and has said nothing on it yet.
func (p *plane) open(conn *grpc.ClientConn, variant string, authorization ...string) *stream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	p.t.Cleanup(cancel)
	for _, v := range authorization {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
	}
	s := &stream{t: p.t, cancel: cancel, names: map[string][]string{}}
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	if variant == "delta" {
		d, err := client.DeltaAggregatedResources(ctx)
		if err != nil {
			p.t.Fatal(err)
		}
		s.ads = delta{d}
		return s
	}
	d, err := client.StreamAggregatedResources(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	s.ads = sotw{d}
	return s
}

// join opens a stream for a proxy of the mesh with a token that allows anything. It has asked for all clusters and
// listeners, and got them.
func (p *plane) join(name string, data map[string]any) *stream {
	p.t.Helper()
	return p.joinBy(p.conn, "sotw", sign(p.t, token.Claims{Mesh: "default"}), node(p.t, "default."+name, data))
}

func (p *plane) joinBy(conn *grpc.ClientConn, variant, raw string, n *corev3.Node) *stream {
	p.t.Helper()
	s := p.open(conn, variant, raw)
	s.askAs(n, xds.TypeCluster)
	s.ask(xds.TypeListener)
	s.expect(xds.TypeCluster)
	s.expect(xds.TypeListener)
	return s
}

// brought is the metadata of a proxy that brings a Dataplane along.
func brought(dataplane string) map[string]any { return map[string]any{"dataplane.resource": dataplane} }

// node is a node with that id and metadata.
func node(t testing.TB, id string, data map[string]any) *corev3.Node {
	t.Helper()
	m, err := structpb.NewStruct(data)
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Node{Id: id, Metadata: m}
}

// dataplane is a Dataplane for these services, separated by commas, with outbounds to others.
func dataplane(name, services string, outbounds ...string) string {
	in, out := []map[string]any{}, []map[string]any{}
	for i, s := range strings.Split(services, ",") {
		in = append(in, map[string]any{"port": 8080 + i, "servicePort": 80 + i, "tags": map[string]string{"kuma.io/service": s}})
	}
	for i, s := range outbounds {
		out = append(out, map[string]any{"port": 10001 + i, "tags": map[string]string{"kuma.io/service": s}})
	}
	text, err := json.Marshal(map[string]any{
		"type": "Dataplane", "mesh": "default", "name": name,
		"networking": map[string]any{"address": address(name), "inbound": in, "outbound": out},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// address is an address that depends on the name.
func address(name string) string {
	sum := 0
	for _, c := range name {
		sum = sum*31 + int(c)
	}
	return fmt.Sprintf("10.%d.%d.%d", sum>>16&255, sum>>8&255, sum&255)
}

// ask asks for resources.
func (s *stream) ask(typ string, names ...string) { s.t.Helper(); s.askAs(nil, typ, names...) }

// askAs asks for resources and says who it is.
func (s *stream) askAs(n *corev3.Node, typ string, names ...string) {
	s.t.Helper()
	before, asked := s.names[typ]
	s.names[typ] = names
	if err := s.ads.send(ask{typ: typ, names: names, before: before, first: !asked, node: n}); err != nil {
		s.t.Fatal(err)
	}
}

// next is the next response, which is accepted.
func (s *stream) next() update {
	s.t.Helper()
	u := s.hold()
	s.answer(u, "")
	return u
}

// hold is the next response, which is neither accepted nor refused yet.
func (s *stream) hold() update {
	s.t.Helper()
	u, err := s.ads.recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// answer accepts a response, or refuses it for a reason.
func (s *stream) answer(u update, reason string) {
	s.t.Helper()
	names := s.names[u.typ]
	if err := s.ads.send(ask{typ: u.typ, names: names, before: names, answer: u, reason: reason}); err != nil {
		s.t.Fatal(err)
	}
}

// expect is the next response, which must be of that type.
func (s *stream) expect(typ string) update {
	s.t.Helper()
	u := s.next()
	if u.typ != typ {
		s.t.Fatalf("got %s with %q, want %s", u.typ, slices.Sorted(maps.Keys(u.resources)), typ)
	}
	return u
}

// ended waits for the end of the stream, which must have that code and say all that.
func (s *stream) ended(code codes.Code, say ...string) string {
	s.t.Helper()
	var err error
	for err == nil {
		_, err = s.ads.recv()
	}
	st := status.Convert(err)
	if st.Code() != code {
		s.t.Fatalf("the stream ended with %v, want %v", err, code)
	}
	for _, part := range say {
		if !strings.Contains(st.Message(), part) {
			s.t.Errorf("the stream ended with %q, which does not say %q", st.Message(), part)
		}
	}
	return st.Message()
}

// leave says goodbye, and waits until the other side has understood.
func (s *stream) leave() {
	s.t.Helper()
	if err := s.ads.CloseSend(); err != nil {
		s.t.Fatal(err)
	}
	for {
		if _, err := s.ads.recv(); err != nil {
			return
		}
	}
}
