package main

import (
	"encoding/json"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/xds"
)

// staticBootstrap turns the resources that a proxy got into a bootstrap that has them all: endpoints within their
// clusters, and secrets looked for among the static ones.
func staticBootstrap(resources map[string][]*anypb.Any, adminSocket string) ([]byte, error) {
	endpoints := map[string]*endpointv3.ClusterLoadAssignment{}
	for _, r := range resources[xds.TypeEndpoint] {
		var e endpointv3.ClusterLoadAssignment
		if err := proto.Unmarshal(r.Value, &e); err != nil {
			return nil, err
		}
		endpoints[e.ClusterName] = &e
	}
	static := map[string][]any{}
	for _, kind := range []struct {
		typ, field string
		message    proto.Message
	}{
		{xds.TypeCluster, "clusters", &clusterv3.Cluster{}},
		{xds.TypeListener, "listeners", &listenerv3.Listener{}},
		{xds.TypeSecret, "secrets", &tlsv3.Secret{}},
	} {
		for _, r := range resources[kind.typ] {
			if err := proto.Unmarshal(r.Value, kind.message); err != nil {
				return nil, err
			}
			if c, ok := kind.message.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
				c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
				c.LoadAssignment = endpoints[c.Name]
				c.EdsClusterConfig = nil
			}
			tree, err := withoutSources(kind.message)
			if err != nil {
				return nil, err
			}
			static[kind.field] = append(static[kind.field], tree)
		}
	}
	return json.Marshal(map[string]any{
		"admin":            map[string]any{"address": map[string]any{"pipe": map[string]any{"path": adminSocket, "mode": 0o600}}},
		"static_resources": static,
	})
}

// withoutSources is the message as JSON, without what says that a secret comes by discovery.
func withoutSources(m proto.Message) (map[string]any, error) {
	b, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var tree structpb.Struct
	if err := protojson.Unmarshal(b, &tree); err != nil {
		return nil, err
	}
	fields := tree.AsMap()
	dropSources(fields)
	return fields, nil
}

func dropSources(tree any) {
	switch t := tree.(type) {
	case map[string]any:
		delete(t, "sdsConfig")
		for _, v := range t {
			dropSources(v)
		}
	case []any:
		for _, v := range t {
			dropSources(v)
		}
	}
}
