// Package bootstrap says what an Envoy must know before it can ask for the rest: who it is, and where its ADS server
// is.
//
// Everything else comes over ADS. There are two kinds of ADS servers: that of the agent, on a unix socket, in which case
// the bootstrap holds nothing secret; and the control plane itself ([Direct]), in which case it holds the token. The
// admin interface is always a unix socket that only the owner can open: there is no port at which another process of
// the host, or a request forged through the workload, could reach it.
//
// [Build] and [Marshal] are pure: the same parameters give the same bytes.
package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// ADSCluster is the name of the cluster that stands for the ADS server.
const ADSCluster = "ads_cluster"

// maxConnections is how many connections one Envoy takes in at a time. Envoy wants a limit, and warns where there is none;
// this one is far above what a sidecar has file descriptors for.
const maxConnections = 1 << 20

// Params is what differs between one Envoy and another. Exactly one of Socket and Direct says where its ADS server is.
type Params struct {
	NodeID   string         // "<mesh>.<name>"
	Cluster  string         // its first service
	Metadata map[string]any // of the node; only what JSON knows
	// AdminSocket is the absolute path of the socket at which Envoy shall answer its admin requests.
	AdminSocket string
	// Delta asks for the incremental variant of ADS.
	Delta bool
	// Socket is the absolute path of the socket of the agent's ADS server.
	Socket string
	// Direct is the control plane, for an Envoy without an agent.
	Direct *Direct
}

// Build makes the bootstrap. It refuses parameters that Envoy would take and then never start with.
func Build(p Params) (*bootstrapv3.Bootstrap, error) {
	if p.NodeID == "" {
		return nil, errors.New("bootstrap: no node id")
	}
	if err := checkSocket("admin", p.AdminSocket); err != nil {
		return nil, err
	}
	metadata, err := structpb.NewStruct(p.Metadata)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: node metadata: %w", err)
	}
	ads, err := p.adsCluster()
	if err != nil {
		return nil, err
	}
	overload, err := overloadManager()
	if err != nil {
		return nil, err
	}
	return &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: p.NodeID, Cluster: p.Cluster, Metadata: metadata},
		Admin: &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{
			Pipe: &corev3.Pipe{Path: p.AdminSocket, Mode: 0o600},
		}}},
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: p.adsConfig(),
			CdsConfig: overADS(),
			LdsConfig: overADS(),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{ads}},
		OverloadManager: overload,
	}, nil
}

// Marshal writes b as JSON, which Envoy reads as YAML too. It is deterministic: protojson alone varies its spaces.
func Marshal(b *bootstrapv3.Bootstrap) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// adsConfig is how Envoy talks to its ADS server.
func (p Params) adsConfig() *corev3.ApiConfigSource {
	kind := corev3.ApiConfigSource_GRPC
	if p.Delta {
		kind = corev3.ApiConfigSource_DELTA_GRPC
	}
	server := &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: ADSCluster,
			RetryPolicy: &corev3.RetryPolicy{RetryBackOff: p.backoff()},
		}},
	}
	if p.Direct != nil && p.Direct.Token != "" {
		server.InitialMetadata = []*corev3.HeaderValue{{Key: "authorization", Value: p.Direct.Token}}
	}
	return &corev3.ApiConfigSource{
		ApiType:                   kind,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices:              []*corev3.GrpcService{server},
	}
}

// overADS is a source of configuration that Envoy waits for however long it takes: an Envoy that gave up would serve
// without the configuration it is there for.
func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(0),
	}
}

func overloadManager() (*overloadv3.OverloadManager, error) {
	limit, err := pack(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: maxConnections})
	if err != nil {
		return nil, err
	}
	return &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
		Name:       "envoy.resource_monitors.global_downstream_max_connections",
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: limit},
	}}}, nil
}

// maxSocketPath is how many bytes of a path fit into a Linux socket address, beside the NUL at its end.
const maxSocketPath = 107

func checkSocket(whose, path string) error {
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("bootstrap: %s socket %q: not an absolute path", whose, path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("bootstrap: %s socket %q: %d bytes, and a socket's path has at most %d; choose a shorter work directory",
			whose, path, len(path), maxSocketPath)
	}
	return nil
}

// pack is anypb.New, deterministic.
func pack(m proto.Message) (*anypb.Any, error) {
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return packed, nil
}
