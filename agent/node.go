package agent

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/policy"
)

// The keys of the node's metadata.
const (
	metaResource = "dataplane.resource" // the Dataplane as JSON, in a string
	metaCSR      = "dataplane.csr"      // the certificate request, in PEM
	metaSVIDs    = "dataplane.svids"    // the chains that the proxy still has, in PEM
	metaInstance = "dataplane.instance" // which run of the agent this is
	metaVersion  = "version"
)

func (a *Agent) nodeID() string { return a.cfg.Mesh + "." + a.cfg.Name }

// cluster is what Envoy calls its own cluster: the first service.
func (a *Agent) cluster() string {
	if a.cfg.Dataplane != nil {
		return a.cfg.Dataplane.Services()[0]
	}
	return a.cfg.Name
}

// node is who the agent says it is. The Dataplane, the certificate request and the certificates that it holds are in it
// if they are asked for.
func (a *Agent) node(resource, csr, svids bool) (*corev3.Node, error) {
	meta := map[string]any{metaInstance: a.instance, metaVersion: versions(a.cfg.Version, a.state.envoyVersion())}
	if resource && a.cfg.Dataplane != nil {
		data, err := policy.Encode(a.cfg.Dataplane)
		if err != nil {
			return nil, err
		}
		meta[metaResource] = string(data)
	}
	if csr {
		pem, err := a.identity.request()
		if err != nil {
			return nil, err
		}
		meta[metaCSR] = string(pem)
	}
	if svids {
		var held []any
		for _, chain := range a.identity.held(time.Now()) {
			held = append(held, chain)
		}
		if held != nil {
			meta[metaSVIDs] = held
		}
	}
	fields, err := structpb.NewStruct(meta)
	if err != nil {
		return nil, err
	}
	return &corev3.Node{Id: a.nodeID(), Cluster: a.cluster(), Metadata: fields, UserAgentName: "kuma-dp"}, nil
}

// versions are the programs of this proxy, as far as they are known.
func versions(agent string, envoy policy.SoftwareVersion) map[string]any {
	v := map[string]any{"kumaDp": map[string]any{"version": agent}}
	if envoy.Version != "" {
		v["envoy"] = map[string]any{"version": envoy.Version, "build": envoy.Build}
	}
	return v
}
