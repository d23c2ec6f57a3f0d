package xds_test

import (
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"koguma/xds"
)

// Where the server is to, it sends again what a client refused, after a while and then after twice as long, until the
// client takes it.
func TestRefusedIsRepeated(t *testing.T) {
	t.Parallel()
	const pause = 50 * time.Millisecond
	w := newWorld(t, func(s *xds.Server) { s.Repeat = pause })
	w.set(nil, nil, list(res("l", "1"), res("m", "2")), nil)
	c, d := w.sotw(), w.delta()
	c.ask(xds.TypeListener)
	d.ask(xds.TypeListener)
	first, firstDelta := c.expect(xds.TypeListener, "1", "2"), d.expect(xds.TypeListener, "1", "2")
	begin := time.Now()
	c.nack(first, "no")
	second := c.expect(xds.TypeListener, "1", "2")
	if second.VersionInfo != first.VersionInfo || second.Nonce == first.Nonce {
		t.Errorf("version and nonce are %q %q, and were %q %q", second.VersionInfo, second.Nonce, first.VersionInfo, first.Nonce)
	}
	c.nack(second, "no")
	c.ack(c.expect(xds.TypeListener, "1", "2"))
	if took := time.Since(begin); took < 3*pause {
		t.Errorf("two repetitions came within %v, want at least %v", took, 3*pause)
	}
	d.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: xds.TypeListener, ResponseNonce: firstDelta.Nonce, ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	d.ack(d.expect(xds.TypeListener, "1", "2"))
	w.set(nil, nil, list(res("l", "1"), res("m", "3")), nil)
	c.ack(c.expect(xds.TypeListener, "1", "3"))
	d.ack(d.expect(xds.TypeListener, "3"))
}
