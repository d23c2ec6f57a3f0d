package xds_test

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"koguma/policy"
	"koguma/xds"
)

// inboundIn is the only listener of a view in a mode.
func inboundIn(t *testing.T, mode string, change func(*xds.Inbound)) *listenerv3.Listener {
	t.Helper()
	v := views()["denied"]
	v.Mode = mode
	v.Inbounds[0].Sources, v.Inbounds[0].Callers = []policy.Source{{Service: "api"}, {Service: "web"}}, []string{"api", "web"}
	change(&v.Inbounds[0])
	l := new(listenerv3.Listener)
	if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, l); err != nil {
		t.Fatal(err)
	}
	return l
}

// A permissive inbound is a strict one with more chains. Envoy leaves alone the connections of those that stay, so long as
// nothing else of the listener differs.
func TestPermissiveOnlyAddsChains(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*xds.Inbound){
		"tcp":    func(*xds.Inbound) {},
		"http":   func(in *xds.Inbound) { in.Protocol = policy.ProtocolHTTP },
		"grpc":   func(in *xds.Inbound) { in.Protocol = policy.ProtocolGRPC },
		"any":    func(in *xds.Inbound) { in.Sources = []policy.Source{{}} },
		"denied": func(in *xds.Inbound) { in.Sources, in.Callers = nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			strict, permissive := inboundIn(t, policy.ModeStrict, change), inboundIn(t, policy.ModePermissive, change)
			n := len(strict.FilterChains)
			var added []string
			for _, c := range permissive.FilterChains[n:] {
				added = append(added, c.Name)
			}
			want := []string{"default-mesh", "plaintext", "foreign-tls"}
			if name == "any" {
				want = want[1:] // the twin of the default chain lets in who stays, so it has to be there before
			}
			if diff := cmp.Diff(want, added); diff != "" {
				t.Errorf("chains that were added (-want +got):\n%s", diff)
			}
			permissive.FilterChains = permissive.FilterChains[:n]
			if diff := cmp.Diff(strict, permissive, protocmp.Transform()); diff != "" {
				t.Errorf("the rest differs (-strict +permissive):\n%s", diff)
			}
		})
	}
}

// What came without mTLS is read from the counters of HTTP and TCP alike, and of no other inbound.
func TestPlaintextOf(t *testing.T) {
	t.Parallel()
	listener := xds.ListenerOf(at("10.0.0.9:80"))
	got := xds.PlaintextOf(listener, map[string]uint64{
		"http.plaintext_inbound_10_0_0_9_80.downstream_cx_total":           3,
		"http.plaintext_inbound_10_0_0_9_80.downstream_cx_rx_bytes_total":  10,
		"http.plaintext_inbound_10_0_0_9_80.downstream_rq_total":           7,
		"tcp.foreign_tls_inbound_10_0_0_9_80.downstream_cx_total":          2,
		"tcp.foreign_tls_inbound_10_0_0_9_80.downstream_cx_tx_bytes_total": 5,
		"http.plaintext_inbound_10_0_0_9_8080.downstream_cx_total":         100,
		"tcp.plaintext_inbound_10_0_0_9_8080.downstream_cx_rx_bytes_total": 100,
	})
	if want := (xds.Plaintext{Connections: 3, Requests: 7, ForeignTLS: 2, Bytes: 15}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
