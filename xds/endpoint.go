package xds

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
)

// loadAssignment is where the instances of a cluster are. There may be none.
func loadAssignment(e *Endpoints) named {
	return named{e.Cluster, func() proto.Message { return assignment(e.Cluster, e.Addresses) }}
}

func assignment(cluster string, addresses []netip.AddrPort) *endpointv3.ClusterLoadAssignment {
	lb := make([]*endpointv3.LbEndpoint, len(addresses))
	for i, a := range addresses {
		lb[i] = &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: address(a)},
		}}
	}
	cla := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	if len(lb) > 0 {
		cla.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: lb}}
	}
	return cla
}

func address(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       a.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}
