package agent

import discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

// ControlPlanes are where the DP servers are, host and port, in the order in which they are tried.
func (a *Agent) ControlPlanes() []string {
	var all []string
	for _, cp := range a.planes {
		all = append(all, cp.address.Host)
	}
	return all
}

// DialOptions is dialOptions.
var DialOptions = dialOptions

// AwaitFirst waits on a stream on which nothing comes until it has failed, or until the agent gives it up.
func (a *Agent) AwaitFirst(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient, failed chan error) error {
	u := &upstream{agent: a, stream: stream, failed: failed}
	for i, typ := range typeOrder {
		u.subs[i].typ = typ
	}
	return u.awaitFirst()
}
