package xds_test

import (
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"koguma/xds"
)

// What a client refused it is sent again with whatever comes next, and only then is it said to have it all.
func TestACKAfterRefusalIsForAll(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, w *world, nack func(), ackBoth func()) {
		t.Helper()
		w.set(nil, nil, nil, list(res("a", "1"), res("b", "2")))
		nack()
		w.next(xds.Nacked)
		w.set(nil, nil, nil, list(res("a", "1"), res("b", "3")))
		ackBoth()
		if e, want := w.next(xds.Acked), xds.NewSet(res("a", "1"), res("b", "3")).Version(); e.Version != want {
			t.Errorf("it has %s, want %s", e.Version, want)
		}
	}
	t.Run("sotw", func(t *testing.T) {
		w := newWorld(t)
		c := w.sotw()
		w.set(nil, nil, nil, list(res("a", "0"), res("b", "0")))
		c.ask(xds.TypeSecret, "a", "b")
		c.ack(c.expect(xds.TypeSecret, "0", "0"), "a", "b")
		w.next(xds.Acked)
		check(t, w, func() { c.refuse(c.expect(xds.TypeSecret, "1", "2"), "a", "b") }, func() { c.ack(c.expect(xds.TypeSecret, "1", "3"), "a", "b") })
	})
	t.Run("delta", func(t *testing.T) {
		w := newWorld(t)
		d := w.delta()
		w.set(nil, nil, nil, list(res("a", "0"), res("b", "0")))
		d.ask(xds.TypeSecret, "a", "b")
		d.ack(d.expect(xds.TypeSecret, "0", "0"))
		w.next(xds.Acked)
		check(t, w, func() {
			d.send(&discoveryv3.DeltaDiscoveryRequest{
				TypeUrl: xds.TypeSecret, ResponseNonce: d.expect(xds.TypeSecret, "1", "2").Nonce, ErrorDetail: &rpcstatus.Status{Message: "no"},
			})
		}, func() { d.ack(d.expect(xds.TypeSecret, "1", "3")) })
	})
}

// refuse refuses a response, and asks for these names as before.
func (c *sotw) refuse(r *discoveryv3.DiscoveryResponse, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: r.TypeUrl, ResourceNames: names, ResponseNonce: r.Nonce, ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
}

// A refusal that comes when there is something newer already does not make the newer one all that there is.
func TestLateRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(nil, nil, nil, list(res("a", "1"), res("b", "1")))
	c := w.sotw()
	c.ask(xds.TypeSecret, "a", "b")
	c.ack(c.expect(xds.TypeSecret, "1", "1"), "a", "b")
	w.next(xds.Acked)
	w.set(nil, nil, nil, list(res("a", "2"), res("b", "1")))
	refused := c.expect(xds.TypeSecret, "2")
	w.set(nil, nil, nil, list(res("a", "2"), res("b", "2")))
	newest := c.expect(xds.TypeSecret, "2")
	c.refuse(refused, "a", "b")
	c.ack(newest, "a", "b")
	whole := c.expect(xds.TypeSecret, "2", "2")
	select {
	case e := <-w.events:
		if e.Kind == xds.Acked {
			t.Error("it is said to have all")
		}
	case <-time.After(10 * time.Millisecond):
	}
	c.ack(whole, "a", "b")
	w.next(xds.Acked)
}
