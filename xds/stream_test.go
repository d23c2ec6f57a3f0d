package xds_test

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"koguma/xds"
)

// world is a server, and the one session that all its streams are served from.
type world struct {
	t      *testing.T
	conn   *grpc.ClientConn
	ctx    context.Context // of the client's streams; ended by what does not come, rather than by the end of all tests
	events chan xds.Event
	closed chan bool // one for each stream that ended: whether it left in good order

	mu       sync.Mutex
	snapshot *xds.Snapshot
	changed  chan struct{}
	end      func(error)
	refusal  error
}

func newWorld(t *testing.T, change ...func(*xds.Server)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, events: make(chan xds.Event, 100), closed: make(chan bool, 10), changed: make(chan struct{})}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	server := xds.NewServer(w)
	for _, c := range change {
		c(server)
	}
	server.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	w.conn, err = grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) Accept(_ context.Context, _ *corev3.Node, end func(error)) (xds.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = end
	return w, w.refusal
}

func (w *world) Snapshot() (*xds.Snapshot, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshot, w.changed
}

func (w *world) Observe(e xds.Event) { w.events <- e }

func (w *world) Close(left bool) { w.closed <- left }

// set is what streams should have from now on: resources of one type each, by "name=content".
func (w *world) set(clusters, endpoints, listeners, secrets []*xds.Resource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.snapshot = &xds.Snapshot{
		Clusters: xds.NewSet(clusters...), Endpoints: xds.NewSet(endpoints...),
		Listeners: xds.NewSet(listeners...), Secrets: xds.NewSet(secrets...),
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// next is the next event of that kind.
func (w *world) next(kind xds.EventKind) xds.Event {
	w.t.Helper()
	for {
		select {
		case e := <-w.events:
			if e.Kind == kind {
				return e
			}
		case <-time.After(10 * time.Second):
			w.t.Fatalf("no event of kind %d came", kind)
		}
	}
}

// asked waits until the server knows that a client asks for exactly these names.
func (w *world) asked(names ...string) {
	w.t.Helper()
	for {
		if e := w.next(xds.Subscribed); e.Names != nil && slices.Equal(e.Names, names) {
			return
		}
	}
}

func res(name, content string) *xds.Resource { return xds.NewResource(name, []byte(content)) }

func list(r ...*xds.Resource) []*xds.Resource { return r }

// sotw is a client of the state-of-the-world variant.
type sotw struct {
	t      *testing.T
	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (w *world) sotw() *sotw {
	w.t.Helper()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(w.conn).StreamAggregatedResources(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &sotw{w.t, s}
}

func (c *sotw) send(r *discoveryv3.DiscoveryRequest) {
	c.t.Helper()
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

// ask subscribes, as the first request of a type does.
func (c *sotw) ask(typ string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "m.p"}, TypeUrl: typ, ResourceNames: names})
}

// ack answers a response, and asks for these names from then on.
func (c *sotw) ack(r *discoveryv3.DiscoveryResponse, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: r.TypeUrl, ResourceNames: names, VersionInfo: r.VersionInfo, ResponseNonce: r.Nonce,
	})
}

func (c *sotw) nack(r *discoveryv3.DiscoveryResponse, reason string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce, ErrorDetail: &rpcstatus.Status{Message: reason},
	})
}

// expect is the next response, which must be of that type and have this content, in this order.
func (c *sotw) expect(typ string, contents ...string) *discoveryv3.DiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, a := range r.Resources {
		got = append(got, string(a.Value))
	}
	if r.TypeUrl != typ || !slices.Equal(got, contents) {
		c.t.Fatalf("got %s %q, want %s %q", r.TypeUrl, got, typ, contents)
	}
	return r
}

// delta is a client of the delta variant.
type delta struct {
	t      *testing.T
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (w *world) delta() *delta {
	w.t.Helper()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(w.conn).DeltaAggregatedResources(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &delta{w.t, s}
}

func (c *delta) send(r *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	r.Node = &corev3.Node{Id: "m.p"}
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *delta) ask(typ string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typ, ResourceNamesSubscribe: names})
}

func (c *delta) ack(r *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce})
}

// expect is the next response; names with a minus are removed ones.
func (c *delta) expect(typ string, contents ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, res := range r.Resources {
		got = append(got, string(res.Resource.Value))
	}
	for _, name := range r.RemovedResources {
		got = append(got, "-"+name)
	}
	if r.TypeUrl != typ || !slices.Equal(got, contents) {
		c.t.Fatalf("got %s %q, want %s %q", r.TypeUrl, got, typ, contents)
	}
	return r
}
