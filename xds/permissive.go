package xds

import (
	"net/netip"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"koguma/policy"
)

// meshProtocol is the ALPN that proxies of the mesh offer when they dial, and nobody else does. Inbounds choose no
// protocol: it only tells mTLS from a workload's own TLS.
const meshProtocol = "kuma"

// A TCP inbound waits so long for a peer to begin. Where the server speaks first, a peer in plaintext never does: in a
// permissive mesh it is let in after that time. The next is how long such a peer, under STRICT, has for its handshake.
const (
	firstBytes    = 3 * time.Second
	handshakeTime = 10 * time.Second
)

// waitForFirstBytes bounds the wait of a TCP inbound. It is the same in both modes: a listener that differs in anything
// but its chains is another listener to Envoy, which closes all connections of the old one.
func waitForFirstBytes(l *listenerv3.Listener, p policy.Protocol) {
	if isHTTP(p) {
		return // the client speaks first
	}
	l.ListenerFiltersTimeout = durationpb.New(firstBytes)
	l.ContinueOnListenerFiltersTimeout = true
}

// handshakeWithin bounds the handshake at a chain to which a peer may come that has said nothing yet.
func handshakeWithin(p policy.Protocol) *durationpb.Duration {
	if isHTTP(p) {
		return nil
	}
	return durationpb.New(handshakeTime)
}

// besides are the filter chains beside those of the sources and the default one, which stay byte for byte what they
// were, so that a change of the mode closes no connection that is under mTLS.
//
// A permissive inbound takes plaintext, and TLS that is the workload's own, and asks neither for a permission. Envoy
// looks at the server name first, then at the kind of transport, then at ALPN, and never goes back: once there is a
// chain for TLS without a server name of ours, the default chain sees no TLS any more. So it has a twin for peers that
// say by ALPN that they are of the mesh. Where peers are let in by the default chain, and so stay, the twin is there in both
// modes.
func (b *Builder) besides(v *View, in *Inbound, byDefault *listenerv3.FilterChain) []*listenerv3.FilterChain {
	permissive := v.Mode == policy.ModePermissive
	var chains []*listenerv3.FilterChain
	if permissive || in.open() {
		twin := proto.CloneOf(byDefault)
		twin.Name += "-mesh"
		twin.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls", ApplicationProtocols: []string{meshProtocol}}
		chains = append(chains, twin)
	}
	if !permissive {
		return chains
	}
	return append(chains,
		&listenerv3.FilterChain{
			Name:             "plaintext",
			FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"},
			Filters:          plaintextFilters(in),
		},
		&listenerv3.FilterChain{
			Name:             "foreign-tls",
			FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
			Filters:          []*listenerv3.Filter{tcpProxy(statName(foreignTLSPrefix+inboundName(in.Listen)), workloadName(in.Workload))},
		},
	)
}

// plaintextFilters lead everybody to the workload, and count under a name of their own.
func plaintextFilters(in *Inbound) []*listenerv3.Filter {
	prefix, cluster := statName(plaintextPrefix+inboundName(in.Listen)), workloadName(in.Workload)
	if !isHTTP(in.Protocol) {
		return []*listenerv3.Filter{tcpProxy(prefix, cluster)}
	}
	route := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}
	return []*listenerv3.Filter{httpManager(connectionManager(prefix, "inbound:"+in.Service, route))}
}

// What the statistics of the chains without mTLS are called, before the name of the listener.
const (
	plaintextPrefix  = "plaintext_"
	foreignTLSPrefix = "foreign_tls_"
)

// PlaintextStats is the filter, as Envoy's admin interface takes it, for the counters of what came without mTLS.
const PlaintextStats = `^(http|tcp)\.(` + plaintextPrefix + `|` + foreignTLSPrefix + `)inbound_.*\.downstream_(rq_total|cx_(total|[rt]x_bytes_total))$`

// Plaintext is what came to a permissive inbound without mTLS, as an Envoy counted it.
type Plaintext struct {
	Connections uint64 // in plaintext
	Requests    uint64 // HTTP requests in plaintext
	ForeignTLS  uint64 // connections with TLS that is not that of the mesh
	Bytes       uint64 // of all of them, in both directions; it shows that a connection which was opened long ago is in use
}

// PlaintextOf reads the counters of the inbound whose listener has that name.
func PlaintextOf(listener string, stats map[string]uint64) Plaintext {
	http, tcp := "http."+statName(plaintextPrefix+listener), "tcp."+statName(plaintextPrefix+listener)
	foreign := "tcp." + statName(foreignTLSPrefix+listener)
	const connections = ".downstream_cx_total"
	p := Plaintext{
		Connections: stats[http+connections] + stats[tcp+connections],
		Requests:    stats[http+".downstream_rq_total"],
		ForeignTLS:  stats[foreign+connections],
	}
	for _, prefix := range []string{http, tcp, foreign} {
		p.Bytes += stats[prefix+".downstream_cx_rx_bytes_total"] + stats[prefix+".downstream_cx_tx_bytes_total"]
	}
	return p
}

// ListenerOf is the name of the listener of an inbound.
func ListenerOf(inbound netip.AddrPort) string { return inboundName(inbound) }
