package bootstrap

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Direct is a control plane that Envoy dials itself, over TLS 1.3.
type Direct struct {
	Host string // a name or an IP address
	Port int
	// ServerName is what the server's certificate must have among its subject alternative names, and the SNI; "" is Host.
	ServerName string
	// CA is what that certificate must be signed by: certificates in PEM, and nothing else.
	CA []byte
	// Token is sent as the "authorization" metadata of each ADS stream. It is in the bootstrap, and thus in Envoy's
	// config dump, for there is no agent to keep it. "" is none: for a control plane that asks for none.
	Token string
}

// adsCluster is where the ADS server is.
func (p Params) adsCluster() (*clusterv3.Cluster, error) {
	http, err := http2()
	if err != nil {
		return nil, err
	}
	cluster := &clusterv3.Cluster{
		Name:                          ADSCluster,
		ConnectTimeout:                durationpb.New(time.Second),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
	}
	switch {
	case (p.Socket == "") == (p.Direct == nil):
		return nil, errors.New("bootstrap: exactly one of the agent's socket and the control plane's address is needed")
	case p.Direct != nil:
		return cluster, p.Direct.dial(cluster)
	}
	if err := checkSocket("ADS", p.Socket); err != nil {
		return nil, err
	}
	at(cluster, clusterv3.Cluster_STATIC, &corev3.Address{Address: &corev3.Address_Pipe{
		Pipe: &corev3.Pipe{Path: p.Socket},
	}})
	return cluster, nil
}

// backoff is how long Envoy waits before it opens a stream again. The agent serves nobody else and is away for a moment at
// most, and what Envoy waits for it, a workload waits for its first request; a control plane may come back to thousands.
func (p Params) backoff() *corev3.BackoffStrategy {
	base, most := 50*time.Millisecond, 200*time.Millisecond
	if p.Direct != nil {
		base, most = 500*time.Millisecond, 10*time.Second
	}
	return &corev3.BackoffStrategy{BaseInterval: durationpb.New(base), MaxInterval: durationpb.New(most)}
}

// dial makes cluster connect to d.
func (d *Direct) dial(cluster *clusterv3.Cluster) error {
	if d.Port < 1 || d.Port > 65535 {
		return fmt.Errorf("bootstrap: port %d of the control plane: not between 1 and 65535", d.Port)
	}
	if d.Host == "" {
		return errors.New("bootstrap: the control plane's address has no host")
	}
	if err := checkToken(d.Token); err != nil {
		return err
	}
	tls, err := d.tls()
	if err != nil {
		return err
	}
	kind := clusterv3.Cluster_STRICT_DNS
	if isIP(d.Host) {
		kind = clusterv3.Cluster_STATIC
	}
	at(cluster, kind, &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       d.Host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(d.Port)},
	}}})
	cluster.TransportSocket = tls
	cluster.DnsLookupFamily = clusterv3.Cluster_ALL // "localhost" is two addresses, and a control plane may have one
	// A control plane that vanished without a word is noticed within 40 s.
	cluster.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
		KeepaliveProbes:   wrapperspb.UInt32(3),
		KeepaliveTime:     wrapperspb.UInt32(10),
		KeepaliveInterval: wrapperspb.UInt32(10),
	}}
	return nil
}

// tls demands a server that proves, by a certificate of d.CA, to be d.ServerName.
func (d *Direct) tls() (*corev3.TransportSocket, error) {
	if err := checkCA(d.CA); err != nil {
		return nil, err
	}
	name := d.ServerName
	if name == "" {
		name = d.Host
	}
	san, sni := tlsv3.SubjectAltNameMatcher_DNS, name
	if isIP(name) {
		san, sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, "" // an SNI is a name
	}
	config, err := pack(&tlsv3.UpstreamTlsContext{
		Sni: sni,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			AlpnProtocols: []string{"h2"},
			TlsParams: &tlsv3.TlsParameters{
				TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
				ValidationContext: &tlsv3.CertificateValidationContext{
					TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(d.CA)}},
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
						SanType: san,
						Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
					}},
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}, nil
}

// at gives cluster its one endpoint.
func at(cluster *clusterv3.Cluster, kind clusterv3.Cluster_DiscoveryType, address *corev3.Address) {
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: kind}
	cluster.LoadAssignment = &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster.Name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		}}}},
	}
}

// http2 makes a cluster speak HTTP/2, which gRPC needs.
func http2() (*anypb.Any, error) {
	type (
		options  = httpv3.HttpProtocolOptions
		explicit = httpv3.HttpProtocolOptions_ExplicitHttpConfig_
		config   = httpv3.HttpProtocolOptions_ExplicitHttpConfig
		protocol = httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions
	)
	return pack(&options{UpstreamProtocolOptions: &explicit{ExplicitHttpConfig: &config{
		ProtocolConfig: &protocol{Http2ProtocolOptions: new(corev3.Http2ProtocolOptions)},
	}}})
}

// checkCA holds that there are certificates and nothing else, as a private key that came along would be in the config
// dump.
func checkCA(text []byte) error {
	rest, n := text, 0
	for ; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("bootstrap: the CA of the control plane: block %d is a %s; give certificates only", n+1, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("bootstrap: the CA of the control plane: certificate %d: %w", n+1, err)
		}
	}
	if n == 0 {
		return errors.New("bootstrap: the CA of the control plane: no certificate in PEM")
	}
	return nil
}

// checkToken never says what the token is.
func checkToken(token string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' }
	if strings.ContainsFunc(token, bad) {
		return errors.New("bootstrap: the token for the control plane has blanks or characters that no token has")
	}
	return nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
