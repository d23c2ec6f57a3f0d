package xds

import (
	"net/netip"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	grpcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// AgentCluster is the cluster in the bootstrap that leads to the agent. Beside configuration it takes what Envoy has
// denied, as an access log with the name of the service.
const AgentCluster = "ads_cluster"

// InboundName is the name of the listener of an inbound, by which the agent keeps its [Note].
func InboundName(listen netip.AddrPort) string { return inboundName(listen) }

// deniedConnections tells the agent of the connections to an inbound that ended in the TLS handshake, or that the
// network RBAC closed: an HTTP connection is not among those. It belongs to the listener, because a connection that
// fails in the handshake never reaches a filter. Without an agent, nobody is told.
func (v *View) deniedConnections(in *Inbound) []*accesslogv3.AccessLog {
	if !v.Notes {
		return nil
	}
	// The other failures of a transport are those of the system library: that the peer has reset the connection, say.
	const refused = `connection.transport_failure_reason.contains(":SSL routines:") || ` +
		`connection.termination_details.startsWith("rbac_access_denied")`
	filter := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{
				TypedConfig: pack(&celv3.ExpressionFilter{Expression: refused}),
			},
		},
	}}
	return toAgent(in.Service, filter)
}

// judged tells the agent of the requests to an inbound that the HTTP RBAC denied and, with doubt, of those requests and
// connections that it let in although there is doubt. It goes by what the RBAC has noted down, and not by the status: a workload
// may answer 403 too. The kind of log is that of connections, which tells nothing of what was asked for.
func (v *View) judged(in *Inbound, doubt bool) []*accesslogv3.AccessLog {
	var all []*accesslogv3.AccessLog
	switch {
	case !v.Notes:
	case isHTTP(in.Protocol):
		all = toAgent(in.Service, noted("envoy.filters.http.rbac", "enforced_engine_result"))
		if doubt {
			all = append(all, toAgent(in.Service, noted("envoy.filters.http.rbac", "shadow_engine_result"))...)
		}
	case doubt:
		// When the connection ends: the RBAC judges by its first bytes, which may come long after it has reached the workload.
		all = toAgent(in.Service, noted("envoy.filters.network.rbac", "shadow_engine_result"))
	}
	return all
}

// noted is that an RBAC has noted down under that key that it denies, or would.
func noted(rbac, key string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_MetadataFilter{
		MetadataFilter: &accesslogv3.MetadataFilter{
			Matcher: &matcherv3.MetadataMatcher{
				Filter: rbac,
				Path: []*matcherv3.MetadataMatcher_PathSegment{{
					Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: key},
				}},
				Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{
					StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "denied"}},
				}},
			},
			MatchIfKeyNotFound: wrapperspb.Bool(false),
		},
	}}
}

// toAgent is the access log that goes to the agent. Each entry is sent at once: a buffer is full with its first entry. Envoy's
// timer, which would fire every second for each of its workers, has nothing to do then. An agent that does not read is no reason
// for Envoy to wait or to grow: it drops entries, and counts them in access_logs.grpc_access_log.logs_dropped.
func toAgent(service string, filter *accesslogv3.AccessLogFilter) []*accesslogv3.AccessLog {
	config := pack(&grpcv3.TcpGrpcAccessLogConfig{CommonConfig: &grpcv3.CommonGrpcAccessLogConfig{
		LogName:             service,
		TransportApiVersion: corev3.ApiVersion_V3,
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: AgentCluster},
		}},
		BufferSizeBytes:     wrapperspb.UInt32(1),
		BufferFlushInterval: durationpb.New(time.Hour),
	}})
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.tcp_grpc", Filter: filter, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config},
	}}
}
