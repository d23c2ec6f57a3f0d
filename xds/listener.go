package xds

import (
	"cmp"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"

	"koguma/policy"
)

// maxChains bounds the filter chains of an inbound. Each costs Envoy memory, and time at every change of the listener;
// the sources beyond the bound share the default chain.
const maxChains = 128

// inboundListener is the listener of an inbound.
//
// Under mTLS it has a filter chain for each service that is let in, with all that lets that service in, chosen by the SNI
// with which that service's proxies dial. So a change of the permission touches the connections of those sources only whom it
// concerns: Envoy drains a chain that goes, and leaves alone those that stay. The default chain and that of a source are renewed
// when something was taken back from that source. The chains lead nowhere that the default chain does not: each judges by
// certificate, and a peer that dials with another name or none is judged by the default chain.
func (b *Builder) inboundListener(v *View, in *Inbound) named {
	name := inboundName(in.Listen)
	return named{name, func() proto.Message {
		l := &listenerv3.Listener{
			Name:             name,
			Address:          address(in.Listen),
			TrafficDirection: corev3.TrafficDirection_INBOUND,
			Metadata:         v.noteOf(in).metadata(),
		}
		if !v.MTLS {
			l.FilterChains = []*listenerv3.FilterChain{{Filters: inboundFilters(in, nil, nil, false, nil)}}
			return l
		}
		l.AccessLog = v.deniedConnections(in)
		l.ListenerFilters = []*listenerv3.ListenerFilter{{
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(&inspectorv3.TlsInspector{})},
		}}
		for _, caller := range in.Callers[:min(len(in.Callers), maxChains)] {
			l.FilterChains = append(l.FilterChains, b.inboundChain(v, in, caller))
		}
		l.DefaultFilterChain = b.inboundChain(v, in, "")
		waitForFirstBytes(l, in.Protocol)
		l.FilterChains = append(l.FilterChains, b.besides(v, in, l.DefaultFilterChain)...)
		return l
	}}
}

// open reports whether the default chain lets peers in: those that no chain was made for.
func (in *Inbound) open() bool {
	return len(in.Callers) > maxChains || slices.ContainsFunc(in.Sources, func(s policy.Source) bool { return s.Service == "" })
}

// inboundChain is the filter chain for one service, or the default one for "".
func (b *Builder) inboundChain(v *View, in *Inbound, source string) *listenerv3.FilterChain {
	sources, doubted := in.Sources, in.Doubted
	if source != "" {
		sources, doubted = policy.Narrow(sources, source), policy.Narrow(doubted, source)
	}
	key := chainKey{
		mesh: v.Mesh, service: in.Service, source: source, sources: textOf(sources), doubted: textOf(doubted), first: in.Service == v.Service,
		protocol: in.Protocol, workload: in.Workload, round: v.Withdrawn.round(source), notes: v.Notes,
		// Who is let in has a chain of its own, so whoever comes to the default one is as a rule denied. It keeps no
		// connection: the next one may come to a chain that was made for it meanwhile.
		once: source == "" && !in.open(),
	}
	if !isHTTP(in.Protocol) {
		key.listen = in.Listen
	}
	chain, _ := b.chains.get(key, func() (*listenerv3.FilterChain, error) { // cannot fail, as this cannot
		c := &listenerv3.FilterChain{
			Name:            chainName(cmp.Or(source, "default"), key.round),
			TransportSocket: downstreamTLS(v.Mesh, IdentitySecretName(v.Mesh, in.Service, in.Service == v.Service)),
			Filters:         inboundFilters(in, allow(v.Mesh, sources), doubt(v.Mesh, doubted), key.once, v.judged(in, len(doubted) > 0)),

			TransportSocketConnectTimeout: handshakeWithin(in.Protocol),
		}
		if source != "" {
			c.FilterChainMatch = &listenerv3.FilterChainMatch{
				ServerNames: []string{ServerName(source, in.Service, v.Mesh)},
			}
		}
		return c, nil
	})
	return chain
}

// chainName is the name of a filter chain in its round. One of another name is another chain: Envoy closes the
// connections of the old one after its drain time, and that is the only way to be rid of a peer whose certificate was
// good when it came.
func chainName(name string, round int) string {
	if round == 0 {
		return name
	}
	return name + "#" + strconv.Itoa(round)
}

// outboundListener is the listener of an outbound. When something was taken back from the service that it leads to, it
// has another filter chain, so that no connection to an instance that is gone stays open.
func outboundListener(v *View, out *Outbound) named {
	name := outboundName(out.Listen)
	return named{name, func() proto.Message {
		return &listenerv3.Listener{
			Name:             name,
			Address:          address(out.Listen),
			TrafficDirection: corev3.TrafficDirection_OUTBOUND,
			FilterChains:     []*listenerv3.FilterChain{{Name: chainName("", v.Withdrawn.round(out.Service)), Filters: outboundFilters(out)}},
		}
	}}
}
