package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// downstreamTLS is how an inbound meets its peers: it shows the identity in the secret with that name, and wants one
// of the same mesh. No session is ever resumed, so that each connection is judged by the certificates and roots of
// its own time.
func downstreamTLS(mesh, identity string) *corev3.TransportSocket {
	return transportSocket(&tlsv3.DownstreamTlsContext{
		RequireClientCertificate:         wrapperspb.Bool(true),
		DisableStatefulSessionResumption: true,
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
		CommonTlsContext: commonTLS(mesh, identity, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: spiffeID(mesh, "")},
		}),
	})
}

// upstreamTLS is how a proxy of the source service dials one of the destination: as itself, and nobody else may answer.
func upstreamTLS(mesh, source, destination string) *corev3.TransportSocket {
	common := commonTLS(mesh, IdentitySecretName(mesh, source, true), &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Exact{Exact: spiffeID(mesh, destination)},
	})
	common.AlpnProtocols = []string{meshProtocol}
	return transportSocket(&tlsv3.UpstreamTlsContext{
		Sni:              ServerName(source, destination, mesh),
		MaxSessionKeys:   wrapperspb.UInt32(0),
		CommonTlsContext: common,
	})
}

func commonTLS(mesh, identity string, peer *matcherv3.StringMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: identity, SdsConfig: fromADS()}},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext: &tlsv3.CertificateValidationContext{
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
						SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: peer,
					}},
				},
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: CASecretName(mesh), SdsConfig: fromADS()},
			},
		},
	}
}

func transportSocket(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(context)},
	}
}
