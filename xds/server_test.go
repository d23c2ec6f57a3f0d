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
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

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
func (w *world) Close(left bool)     { w.closed <- left }

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

// The tests below show that nothing is sent by provoking something else afterwards, and looking at what comes first.

// Whoever asks for everything gets all of it, also when that is nothing, and only changes make more.
func TestWildcard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, list(res("l", "1")), nil)
	c := w.sotw()
	c.ask(xds.TypeCluster)
	clusters := c.expect(xds.TypeCluster)
	c.ask(xds.TypeListener)
	c.ack(c.expect(xds.TypeListener, "1"))
	c.ack(clusters)
	w.set(nil, nil, list(res("l", "1")), nil)
	w.set(list(res("b", "2"), res("a", "1")), nil, list(res("l", "1")), nil)
	c.ack(c.expect(xds.TypeCluster, "1", "2"))
	w.set(list(res("b", "2")), nil, list(res("l", "1")), nil)
	c.ack(c.expect(xds.TypeCluster, "2"))

	d := w.delta()
	d.ask(xds.TypeCluster)
	d.ack(d.expect(xds.TypeCluster, "2"))
	w.set(list(res("b", "3"), res("c", "1")), nil, nil, nil)
	d.ack(d.expect(xds.TypeCluster, "3", "1"))
	w.set(list(res("c", "1")), nil, nil, nil)
	d.ack(d.expect(xds.TypeCluster, "-b"))
}

// A name that does not exist yet is remembered, and sent when it appears. Delta says at once that it does not exist.
func TestUnknownName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, list(res("other", "1")))
	c := w.sotw()
	c.ask(xds.TypeSecret, "id", "other")
	c.ack(c.expect(xds.TypeSecret, "1"), "id", "other")
	d := w.delta()
	d.ask(xds.TypeSecret, "id")
	d.ack(d.expect(xds.TypeSecret, "-id"))
	w.set(nil, nil, nil, list(res("id", "1"), res("other", "1")))
	c.ack(c.expect(xds.TypeSecret, "1"), "id", "other")
	d.ack(d.expect(xds.TypeSecret, "1"))
	w.set(nil, nil, nil, list(res("other", "2")))
	c.ack(c.expect(xds.TypeSecret, "2"), "id", "other") // so that it is known to have seen that there is no id
	d.ack(d.expect(xds.TypeSecret, "-id"))
	w.set(nil, nil, nil, list(res("id", "1"), res("other", "2")))
	d.ack(d.expect(xds.TypeSecret, "1"))
	c.expect(xds.TypeSecret, "1") // what had gone is sent again, changed or not
}

// Only what changed of the endpoints is sent, and names can come and go.
func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, list(res("a", "1"), res("b", "1"), res("c", "1")), nil, nil)
	c := w.sotw()
	c.ask(xds.TypeEndpoint, "a", "b")
	c.ack(c.expect(xds.TypeEndpoint, "1", "1"), "a", "b")
	w.set(nil, list(res("a", "2"), res("b", "1"), res("c", "2")), nil, nil)
	r := c.expect(xds.TypeEndpoint, "2")
	c.ack(r, "a", "b", "c")
	r = c.expect(xds.TypeEndpoint, "2") // c
	c.ack(r, "c")
	w.asked("c")
	w.set(nil, list(res("a", "3"), res("b", "3"), res("c", "3")), nil, nil)
	r = c.expect(xds.TypeEndpoint, "3")
	c.ack(r) // an empty list is no longer everything
	w.asked()
	w.set(nil, list(res("a", "4"), res("c", "4")), list(res("l", "1")), nil)
	c.ask(xds.TypeListener)
	c.expect(xds.TypeListener, "1")

	d := w.delta()
	d.ask(xds.TypeEndpoint, "a")
	r2 := d.expect(xds.TypeEndpoint, "4")
	d.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: xds.TypeEndpoint, ResponseNonce: "stale",
		ResourceNamesSubscribe: []string{"c"}, ResourceNamesUnsubscribe: []string{"a"},
	})
	d.ack(r2)
	d.ack(d.expect(xds.TypeEndpoint, "4")) // c, although the nonce was stale
	w.set(nil, list(res("a", "5"), res("c", "5")), nil, nil)
	d.expect(xds.TypeEndpoint, "5")
}

// A client that asks again for what it has gets it again: it waits for the endpoints of a cluster that it is about to
// replace.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, list(res("a", "1")), nil, nil)
	c := w.sotw()
	c.ask(xds.TypeEndpoint, "a")
	r := c.expect(xds.TypeEndpoint, "1")
	c.ack(r, "a")
	c.ack(r, "a")
	c.ack(c.expect(xds.TypeEndpoint, "1"), "a")

	d := w.delta()
	d.ask(xds.TypeEndpoint, "a")
	d.ack(d.expect(xds.TypeEndpoint, "1"))
	d.ask(xds.TypeEndpoint, "a")
	d.expect(xds.TypeEndpoint, "1")
}

// What a client refused is not sent again; what comes after it is. The reason reaches the session.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, list(res("l", "bad")), nil)
	c := w.sotw()
	c.ask(xds.TypeListener)
	c.nack(c.expect(xds.TypeListener, "bad"), "no such port")
	if e := w.next(xds.Nacked); e.Reason != "no such port" || e.Type != xds.TypeListener || e.Version != xds.NewSet(res("l", "bad")).Version() {
		t.Errorf("the session was told %+v", e)
	}
	w.set(list(res("c", "1")), nil, list(res("l", "bad")), nil)
	c.ask(xds.TypeCluster)
	c.ack(c.expect(xds.TypeCluster, "1"))
	w.set(list(res("c", "1")), nil, list(res("l", "good")), nil)
	c.ack(c.expect(xds.TypeListener, "good"))
	for {
		if e := w.next(xds.Acked); e.Type == xds.TypeListener {
			break
		}
	}

	d := w.delta()
	d.ask(xds.TypeListener)
	r := d.expect(xds.TypeListener, "good")
	d.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: xds.TypeListener, ResponseNonce: r.Nonce, ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	d.ask(xds.TypeCluster)
	d.expect(xds.TypeCluster, "1")
	if e := w.next(xds.Nacked); e.Reason != "no" {
		t.Errorf("the session was told %+v", e)
	}
}

// A request that crossed with a newer response is not taken for an answer to it, nor for a new question.
func TestStaleNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, list(res("l", "1")), nil)
	c := w.sotw()
	c.ask(xds.TypeListener)
	first := c.expect(xds.TypeListener, "1")
	w.set(nil, nil, list(res("l", "2")), nil)
	second := c.expect(xds.TypeListener, "2")
	c.ack(first)
	c.ack(second)
	if e := w.next(xds.Acked); e.Version != second.VersionInfo {
		t.Errorf("version %s was taken for accepted, want %s", e.Version, second.VersionInfo)
	}
	w.set(nil, nil, list(res("l", "3")), nil)
	c.expect(xds.TypeListener, "3")
}

// A subscription may change while a response is still unanswered, without that being an answer.
func TestSubscriptionIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, list(res("a", "1"), res("b", "1")))
	c := w.sotw()
	c.ask(xds.TypeSecret, "a")
	r := c.expect(xds.TypeSecret, "1")
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: xds.TypeSecret, ResponseNonce: r.Nonce, ResourceNames: []string{"a", "b"}})
	r = c.expect(xds.TypeSecret, "1")
	c.ack(r, "a", "b")
	acks := 0
	c.stream.CloseSend()
	<-w.closed
	for len(w.events) > 0 {
		if e := <-w.events; e.Kind == xds.Acked {
			acks++
		}
	}
	if acks != 1 {
		t.Errorf("%d answers were seen, want 1", acks)
	}
}

// A client that comes back with what it has gets what changed, and hears of what has gone.
func TestDeltaReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	same := res("same", "1")
	w.set(list(same, res("new", "1")), nil, nil, list(res("s", "1")))
	d := w.delta()
	d.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl:                 xds.TypeCluster,
		InitialResourceVersions: map[string]string{"same": same.Version, "gone": "x"},
	})
	d.ack(d.expect(xds.TypeCluster, "1", "-gone"))
	d.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: xds.TypeSecret, ResourceNamesSubscribe: []string{"s"},
		InitialResourceVersions: map[string]string{"s": res("s", "1").Version},
	})
	w.asked("s")
	w.set(list(same), nil, nil, list(res("s", "2")))
	d.expect(xds.TypeSecret, "2")
	d.expect(xds.TypeCluster, "-new")
}

// "*" is everything; a name that is taken back from under it is answered, because everything still includes it.
func TestDeltaWildcardByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(list(res("a", "1"), res("b", "1")), nil, nil, nil)
	d := w.delta()
	d.ask(xds.TypeCluster, "a")
	d.ack(d.expect(xds.TypeCluster, "1"))
	d.ask(xds.TypeCluster, "*")
	d.ack(d.expect(xds.TypeCluster, "1")) // b
	w.asked("a")
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.TypeCluster, ResourceNamesUnsubscribe: []string{"a"}})
	d.ack(d.expect(xds.TypeCluster, "1")) // a, again
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.TypeCluster, ResourceNamesUnsubscribe: []string{"*"}})
	w.asked()
	w.set(list(res("a", "2"), res("b", "2")), nil, list(res("l", "1")), nil)
	d.ask(xds.TypeListener)
	d.expect(xds.TypeListener, "1")
}

// What refers comes after what is referred to, and what is no longer referred to goes when nothing uses it any more.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(list(res("old", "old")), nil, list(res("l", "to old")), nil)
	c := w.sotw()
	c.ask(xds.TypeListener)
	listeners := c.expect(xds.TypeListener, "to old")
	c.ask(xds.TypeCluster)
	c.ack(c.expect(xds.TypeCluster, "old"))
	c.ack(listeners)
	c.ask(xds.TypeSecret, "s")
	c.ask(xds.TypeEndpoint, "new")
	for range 4 {
		w.next(xds.Subscribed)
	}
	w.set(list(res("new", "new")), list(res("new", "e")), list(res("l", "to new")), list(res("s", "s")))
	c.ack(c.expect(xds.TypeSecret, "s"), "s")
	c.ack(c.expect(xds.TypeCluster, "new", "old"))
	c.ack(c.expect(xds.TypeEndpoint, "e"), "new")
	c.ack(c.expect(xds.TypeListener, "to new"))
	c.ack(c.expect(xds.TypeCluster, "new"))
}

// A stream begins with a node, and keeps it.
func TestNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, nil)
	c := w.sotw()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: xds.TypeCluster})
	if _, err := c.stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream without a node ended with %v", err)
	}
	c = w.sotw()
	c.ask(xds.TypeCluster)
	c.ack(c.expect(xds.TypeCluster))
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: xds.TypeListener, Node: &corev3.Node{Id: "m.other"}})
	if _, err := c.stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream that changed its node ended with %v", err)
	}
}

// A stream on which nobody says who they are ends.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.sotw().stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream ended with %v", err)
	}
}

// A stream ends with the error that it was refused or ended with; a client that closes its side has left.
func TestEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, nil)
	c := w.sotw()
	c.ask(xds.TypeCluster)
	c.expect(xds.TypeCluster)
	w.end(status.Error(codes.PermissionDenied, "not any more"))
	if _, err := c.stream.Recv(); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "not any more" {
		t.Errorf("the stream ended with %v", err)
	}
	if left := <-w.closed; left {
		t.Error("a stream that was ended was taken for one that left")
	}
	c = w.sotw()
	c.ask(xds.TypeCluster)
	c.expect(xds.TypeCluster)
	c.stream.CloseSend()
	if left := <-w.closed; !left {
		t.Error("a client that closed its side was not taken for one that left")
	}
	w.mu.Lock()
	w.refusal = status.Error(codes.Unauthenticated, "who?")
	w.mu.Unlock()
	c = w.sotw()
	c.ask(xds.TypeCluster)
	if _, err := c.stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream ended with %v", err)
	}
}

// Events tell the session what the client asks for and has.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, list(res("a", "1")))
	c := w.sotw()
	c.ask(xds.TypeSecret, "b", "a")
	r := c.expect(xds.TypeSecret, "1")
	c.ack(r, "a", "b")
	e := w.next(xds.Subscribed)
	if diff := cmp.Diff([]string{"a", "b"}, e.Names); diff != "" || e.Node.GetId() != "m.p" {
		t.Errorf("subscribed: %v %s", e, diff)
	}
	if e := w.next(xds.Sent); e.Version != r.VersionInfo {
		t.Errorf("sent: %v", e)
	}
	if e := w.next(xds.Acked); e.Version != r.VersionInfo || e.Idle {
		t.Errorf("acked: %v", e)
	}
	w.set(nil, nil, nil, list(res("a", "1"), res("unwanted", "1")))
	if e := w.next(xds.Acked); e.Version == r.VersionInfo || !e.Idle {
		t.Errorf("acked: %v", e)
	}
}
