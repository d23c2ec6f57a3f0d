package xds_test

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/xds"
)

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
