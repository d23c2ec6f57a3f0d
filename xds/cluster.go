package xds

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"net/netip"

	"koguma/policy"
)

// ConnectTimeout is how long a connection to a workload or to another proxy may take to come about, with its TLS handshake.
const ConnectTimeout = 5 * time.Second

// workloadCluster is the cluster with the workload behind an inbound.
func workloadCluster(in *Inbound) named {
	name := workloadName(in.Workload)
	return named{name, func() proto.Message {
		return &clusterv3.Cluster{
			Name:                          name,
			ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			ConnectTimeout:                durationpb.New(ConnectTimeout),
			LoadAssignment:                assignment(name, []netip.AddrPort{in.Workload}),
			TypedExtensionProtocolOptions: protocolOptions(in.Protocol),
		}
	}}
}

// serviceCluster is the cluster with the instances of a service, which are dialled under mTLS where the mesh has it.
func serviceCluster(v *View, out *Outbound) named {
	name := out.Endpoints.Cluster
	return named{name, func() proto.Message {
		c := &clusterv3.Cluster{
			Name:                          name,
			ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
			EdsClusterConfig:              &clusterv3.Cluster_EdsClusterConfig{EdsConfig: fromADS()},
			ConnectTimeout:                durationpb.New(ConnectTimeout),
			TypedExtensionProtocolOptions: protocolOptions(out.Protocol),
			Metadata:                      v.clusterNote().metadata(),
		}
		if v.MTLS && !out.Plain {
			c.TransportSocket = upstreamTLS(v.Mesh, v.Service, out.Service)
			c.Metadata = identified(v.Names)
		}
		return c
	}}
}

// identified makes a cluster another one when the names in the proxy's certificate change. Envoy gives up the connections
// of the old one then, which are those of somebody who is judged by other tags.
func identified(names string) *corev3.Metadata {
	if names == "" {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"io.koguma.identity": {Fields: map[string]*structpb.Value{
		"names": structpb.NewStringValue(hash(names)[:16]),
	}}}}
}

// protocolOptions makes a cluster speak HTTP/2 where the protocol is that. Everything else needs no option.
func protocolOptions(p policy.Protocol) map[string]*anypb.Any {
	if !isHTTP2(p) {
		return nil
	}
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(&httpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
					},
				},
			},
		}),
	}
}

func isHTTP2(p policy.Protocol) bool { return p == policy.ProtocolHTTP2 || p == policy.ProtocolGRPC }

func isHTTP(p policy.Protocol) bool { return p == policy.ProtocolHTTP || isHTTP2(p) }

// fromADS says that a resource comes over the stream that all others come over.
func fromADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// pack wraps a message that is built here and cannot fail to marshal: its strings were checked on their way in.
func pack(m proto.Message) *anypb.Any {
	var a anypb.Any
	if err := anypb.MarshalFrom(&a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err)
	}
	return &a
}
