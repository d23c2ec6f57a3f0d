package xds

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"strings"
)

// streamIdle ends an HTTP stream on which nothing has moved for so long. How long a request may take is for the
// workloads to say, not for the proxies between them.
const streamIdle = 30 * time.Minute

// lastWord is how long after "Connection: close", or the notice that HTTP/2 has for it, an inbound closes the connection
// itself. A peer that has lost its permission may pass over these words, and would be served until Envoy's drain time ends.
const lastWord = 100 * time.Millisecond

// attempts is how often a connection or a request that has not reached anybody is tried.
const attempts = 3

// inboundFilters leads to the workload those whom the rules let in. Without rules that is everybody. Whom the rules of doubt
// deny, Envoy notes down, and does no more. With once, an HTTP connection is closed after its first request. log is told of
// the requests, or of the connections where the protocol is TCP.
func inboundFilters(in *Inbound, rules, doubt *rbacconfigv3.RBAC, once bool, log []*accesslogv3.AccessLog) []*listenerv3.Filter {
	cluster := workloadName(in.Workload)
	if isHTTP(in.Protocol) {
		var before []*hcmv3.HttpFilter
		if rules != nil {
			before = append(before, httpFilter("envoy.filters.http.rbac", &httprbacv3.RBAC{Rules: rules, ShadowRules: doubt}))
		}
		route := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}
		manager := connectionManager(statName(cluster), "inbound:"+in.Service, route, before...)
		manager.AccessLog = log
		manager.DrainTimeout = durationpb.New(lastWord)
		if once {
			manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxRequestsPerConnection: wrapperspb.UInt32(1)}
		}
		return []*listenerv3.Filter{httpManager(manager)}
	}
	var filters []*listenerv3.Filter
	if rules != nil {
		filters = append(filters, filter("envoy.filters.network.rbac", &rbacv3.RBAC{
			Rules: rules, ShadowRules: doubt, StatPrefix: statName(inboundName(in.Listen)) + ".",
		}))
	}
	return append(filters, tcpProxy(statName(cluster), cluster, log...))
}

// statName is a name as statistics have it: without what would split it.
func statName(name string) string { return strings.NewReplacer(":", "_", ".", "_").Replace(name) }

// outboundFilters leads to the instances of a service. Only what has not reached any of them is tried again, so that
// nothing is done twice.
func outboundFilters(out *Outbound) []*listenerv3.Filter {
	cluster := out.Endpoints.Cluster
	if !isHTTP(out.Protocol) {
		return []*listenerv3.Filter{tcpProxy(statName(cluster), cluster)}
	}
	route := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		RetryPolicy: &routev3.RetryPolicy{
			RetryOn:    "connect-failure,refused-stream,reset-before-request",
			NumRetries: wrapperspb.UInt32(attempts - 1),
			// At another instance: one that has just come, or is just going, may refuse all attempts.
			RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
				Name: "envoy.retry_host_predicates.previous_hosts",
				ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
					TypedConfig: pack(&previoushostsv3.PreviousHostsPredicate{}),
				},
			}},
			HostSelectionRetryMaxAttempts: attempts,
		},
	}
	return []*listenerv3.Filter{httpManager(connectionManager(statName(cluster), "outbound:"+out.Service, route))}
}

func tcpProxy(prefix, cluster string, log ...*accesslogv3.AccessLog) *listenerv3.Filter {
	return filter("envoy.filters.network.tcp_proxy", &tcpv3.TcpProxy{
		StatPrefix:         prefix,
		ClusterSpecifier:   &tcpv3.TcpProxy_Cluster{Cluster: cluster},
		MaxConnectAttempts: wrapperspb.UInt32(attempts),
		AccessLog:          log,
	})
}

// connectionManager sends all requests one way. It changes nothing that the workloads could see but what HTTP has
// proxies change.
func connectionManager(prefix, routes string, route *routev3.RouteAction, before ...*hcmv3.HttpFilter) *hcmv3.HttpConnectionManager {
	route.Timeout = durationpb.New(0)
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                 prefix,
		StreamIdleTimeout:          durationpb.New(streamIdle),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		UpgradeConfigs:             []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name:             routes,
			ValidateClusters: wrapperspb.Bool(false),
			VirtualHosts: []*routev3.VirtualHost{{
				Name:    "all",
				Domains: []string{"*"},
				Routes: []*routev3.Route{{
					Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
					Action: &routev3.Route_Route{Route: route},
				}},
			}},
		}},
		HttpFilters: append(before, httpFilter("envoy.filters.http.router", &routerv3.Router{})),
	}
}

func httpManager(m *hcmv3.HttpConnectionManager) *listenerv3.Filter {
	return filter("envoy.filters.network.http_connection_manager", m)
}

func filter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(config)}}
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}
