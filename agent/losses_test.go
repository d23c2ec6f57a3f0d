package agent_test

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"koguma/policy"
	"koguma/xds"
)

// loss is a way to lose identity: what a control plane sends after something has gone wrong with it.
type loss struct {
	name string
	typ  string // of the response that the agent refuses; "" if it takes them all
	why  string // is in the reason, in the log and at /ready
	send func(*mesh) *xds.Snapshot
	gone bool // there is no inbound meanwhile; and if nothing was refused, nothing is sent that brings it back
}

// losses are all that we know of.
func losses() []loss {
	const lds, cds, sds = xds.TypeListener, xds.TypeCluster, xds.TypeSecret
	return append([]loss{
		// The whole mesh.
		{"an older control plane, which knows of no mTLS", cds, "nobody has changed the Mesh", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) { v.MTLS, v.Notes = false, false })
		}, false},
		{"a policy that cannot be resolved", cds, "the Mesh says STRICT", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) { v.MTLS = false })
		}, false},
		{"a newer control plane, with a mode that we do not know", cds, "the Mesh says MUTUAL", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) { v.MTLS, v.Mode = false, "MUTUAL" })
		}, false},
		{"the store restored from before mTLS", cds, "is older than the one", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) { v.MTLS, v.Mode, v.MeshChanged = false, xds.ModeOff, v.MeshChanged-1 })
		}, false},
		{"the store restored from a permissive time", lds, "is older than the one", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) { v.Mode, v.MeshChanged = policy.ModePermissive, v.MeshChanged-1 })
		}, false},
		{"an empty store, with another Mesh of that name", cds, "is another than the one", func(m *mesh) *xds.Snapshot {
			return m.build(func(v *xds.View) {
				v.MTLS, v.Mode, v.MeshCreated, v.MeshChanged = false, xds.ModeOff, v.MeshChanged+1, v.MeshChanged+1
			})
		}, false},
		{"nothing at all", "", "", func(*mesh) *xds.Snapshot {
			return &xds.Snapshot{Secrets: xds.NewSet(), Clusters: xds.NewSet(), Endpoints: xds.NewSet(), Listeners: xds.NewSet()}
		}, true},
		{"inbounds without identity after nothing at all", lds, "nobody has changed the Mesh", func(m *mesh) *xds.Snapshot {
			s := m.build(func(v *xds.View) { v.MTLS, v.Notes, v.Outbounds = false, false, nil })
			return s
		}, true},
		// The secrets.
		{"the CA is deleted", "", "", func(m *mesh) *xds.Snapshot {
			s := m.good()
			s.Secrets = xds.NewSet()
			return s
		}, false},
		{"a CA without certificates", sds, "mesh_ca", func(m *mesh) *xds.Snapshot {
			return m.trust(&tlsv3.CertificateValidationContext{})
		}, false},
		{"a CA that everybody passes", sds, "trust_chain_verification", func(m *mesh) *xds.Snapshot {
			return m.trust(&tlsv3.CertificateValidationContext{
				TrustedCa:              &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: m.cp.meshCA.CertPEM()}},
				TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
			})
		}, false},
		// The clusters.
		{"a cluster without TLS", cds, "the transport socket is missing", func(m *mesh) *xds.Snapshot {
			return m.cluster(func(c *clusterv3.Cluster) { c.TransportSocket = nil })
		}, false},
		{"a cluster with TLS for some", cds, "by endpoint", func(m *mesh) *xds.Snapshot {
			return m.cluster(func(c *clusterv3.Cluster) {
				c.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{{Name: "plain"}}
			})
		}, false},
		{"a cluster that has become one of fixed addresses", cds, "plaintext", func(m *mesh) *xds.Snapshot {
			return m.cluster(func(c *clusterv3.Cluster) {
				*c = clusterv3.Cluster{Name: c.Name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}}
			})
		}, false},
	}, listenerLosses()...)
}

// listenerLosses are those of one inbound.
func listenerLosses() []loss {
	edit := func(name, why string, change func(*listenerv3.Listener)) loss {
		return loss{name, xds.TypeListener, why, func(m *mesh) *xds.Snapshot { return m.listener(change) }, false}
	}
	chain := func(name, why string, change func(*listenerv3.FilterChain)) loss {
		return edit(name, why, func(l *listenerv3.Listener) { change(l.FilterChains[0]) })
	}
	tls := func(name, why string, change func(*tlsv3.DownstreamTlsContext)) loss {
		return edit(name, why, func(l *listenerv3.Listener) { repack(l.DefaultFilterChain.TransportSocket.GetTypedConfig(), change) })
	}
	manager := func(name, why string, change func(*hcmv3.HttpConnectionManager)) loss {
		return edit(name, why, func(l *listenerv3.Listener) { repack(l.DefaultFilterChain.Filters[0].GetTypedConfig(), change) })
	}
	rbac := func(name, why string, change func(*httprbacv3.RBAC)) loss {
		return manager(name, why, func(m *hcmv3.HttpConnectionManager) { repack(m.HttpFilters[0].GetTypedConfig(), change) })
	}
	return []loss{
		edit("a chain for plaintext", "the transport socket is missing", func(l *listenerv3.Listener) {
			plain := proto.CloneOf(l.DefaultFilterChain)
			plain.Name, plain.TransportSocket = "plain", nil
			plain.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}
			l.FilterChains = append(l.FilterChains, plain)
		}),
		edit("the default chain without TLS", "the transport socket is missing", func(l *listenerv3.Listener) {
			l.DefaultFilterChain.TransportSocket = nil
		}),
		chain("a transport socket that says it is TLS", "is of type RawBuffer", func(c *listenerv3.FilterChain) {
			c.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&rawbufferv3.RawBuffer{})}
		}),
		chain("a filter that we do not know before the permissions", "where RBAC should be", func(c *listenerv3.FilterChain) {
			unknown := &listenerv3.Filter{Name: "new", ConfigType: &listenerv3.Filter_TypedConfig{
				TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/envoy.extensions.filters.network.new.v9.New"}}}
			c.Filters = append([]*listenerv3.Filter{unknown}, c.Filters...)
		}),
		edit("a field of a listener that we cannot judge", "use_original_dst", func(l *listenerv3.Listener) {
			l.UseOriginalDst = wrapperspb.Bool(true)
		}),
		chain("a field that we do not know", "does not know", func(c *listenerv3.FilterChain) {
			c.FilterChainMatch.ProtoReflect().SetUnknown([]byte{0xfa, 0x7f, 0}) // number 2047, empty
		}),
		edit("an outbound that leads to the workload", "plaintext", func(l *listenerv3.Listener) {
			l.TrafficDirection, l.Metadata = corev3.TrafficDirection_OUTBOUND, nil
			l.FilterChains, l.DefaultFilterChain = nil, &listenerv3.FilterChain{Filters: l.DefaultFilterChain.Filters}
		}),
		tls("no client certificate", "asks for no client certificate", func(c *tlsv3.DownstreamTlsContext) { c.RequireClientCertificate = nil }),
		tls("another CA", "instead of by the CA", func(c *tlsv3.DownstreamTlsContext) {
			c.CommonTlsContext.GetCombinedValidationContext().ValidationContextSdsSecretConfig.Name = "other"
		}),
		tls("no CA", "instead of by the CA", func(c *tlsv3.DownstreamTlsContext) { c.CommonTlsContext.ValidationContextType = nil }),
		tls("every name", "takes every name", func(c *tlsv3.DownstreamTlsContext) {
			c.CommonTlsContext.GetCombinedValidationContext().DefaultValidationContext.MatchTypedSubjectAltNames = nil
		}),
		tls("names of another mesh", "not of the mesh", func(c *tlsv3.DownstreamTlsContext) {
			own := c.CommonTlsContext.GetCombinedValidationContext().DefaultValidationContext
			own.MatchTypedSubjectAltNames[0].Matcher = &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://"}}
		}),
		tls("keys in a log", "key_log", func(c *tlsv3.DownstreamTlsContext) {
			c.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: "/dev/null"}
		}),
		manager("no RBAC", "where RBAC should be", func(m *hcmv3.HttpConnectionManager) { m.HttpFilters = m.HttpFilters[1:] }),
		manager("RBAC switched off", "switched off", func(m *hcmv3.HttpConnectionManager) { m.HttpFilters[0].Disabled = true }),
		manager("RBAC switched off for a route", "filters of its own", func(m *hcmv3.HttpConnectionManager) {
			m.GetRouteConfig().VirtualHosts[0].TypedPerFilterConfig = map[string]*anypb.Any{
				"envoy.filters.http.rbac": pack(&httprbacv3.RBACPerRoute{}),
			}
		}),
		manager("RBAC passed by with an upgrade", "goes past", func(m *hcmv3.HttpConnectionManager) {
			m.UpgradeConfigs[0].Filters = m.HttpFilters[1:]
		}),
		rbac("RBAC without rules", "no rules", func(r *httprbacv3.RBAC) { r.Rules = nil }),
		rbac("RBAC that only looks on", "does not deny", func(r *httprbacv3.RBAC) { r.Rules.Action = rbacconfigv3.RBAC_LOG }),
		rbac("RBAC upside down", "does not deny", func(r *httprbacv3.RBAC) { r.Rules.Action = rbacconfigv3.RBAC_DENY }),
	}
}

// repack changes what is in a packed message.
func repack[M interface {
	*T
	proto.Message
}, T any](packed *anypb.Any, change func(M)) {
	m := M(new(T))
	if err := packed.UnmarshalTo(m); err != nil {
		panic(err)
	}
	change(m)
	packed.Value = pack(m).Value
}

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}
