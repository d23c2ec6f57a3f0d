package xds

import (
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// delta is the incremental variant: requests and responses say what changed, and that something does not exist.
type delta struct {
	grpc discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (w delta) recv() (*request, error) {
	r, err := w.grpc.Recv()
	if err != nil {
		return nil, err
	}
	return &request{
		typ:         r.GetTypeUrl(),
		node:        r.GetNode(),
		nonce:       r.GetResponseNonce(),
		nack:        r.GetErrorDetail() != nil,
		reason:      r.GetErrorDetail().GetMessage(),
		version:     anyVersion,
		subscribe:   r.GetResourceNamesSubscribe(),
		unsubscribe: r.GetResourceNamesUnsubscribe(),
		held:        r.GetInitialResourceVersions(),
	}, nil
}

func (w delta) send(r *response) error {
	out := &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: r.typ, SystemVersionInfo: r.version, Nonce: r.nonce, RemovedResources: r.removed,
	}
	out.Resources = make([]*discoveryv3.Resource, len(r.resources))
	for i, res := range r.resources {
		out.Resources[i] = &discoveryv3.Resource{
			Name: res.Name, Version: res.Version, Resource: &anypb.Any{TypeUrl: r.typ, Value: res.Body},
		}
	}
	return w.grpc.Send(out)
}

// apply heeds changes of the subscription whatever nonce they come with: unlike in the other variant nobody repeats
// them.
func (w delta) apply(sub *subscription, r *request, _ bool) bool {
	first := !sub.named
	sub.named = true
	if first && len(r.subscribe) == 0 && all(sub.typ) {
		sub.wildcard = true
	}
	for _, name := range r.subscribe {
		sub.add(name)
		delete(sub.sent, name) // asked for again, so sent again, changed or not
	}
	for _, name := range r.unsubscribe {
		sub.drop(name)
		delete(sub.sent, name) // where everything is asked for, the name still is, and its answer is due
	}
	if slices.Contains(r.unsubscribe, "*") {
		maps.DeleteFunc(sub.sent, func(name string, _ *Resource) bool { return !sub.names[name] })
	}
	if sub.nonce == "" {
		for name, version := range r.held {
			if sub.wants(name) {
				sub.sent[name] = &Resource{Name: name, Version: version}
			}
		}
	}
	return first || len(r.subscribe) > 0 || len(r.unsubscribe) > 0
}

func (w delta) answer(sub *subscription, set *Set) *response {
	resp := &response{}
	for _, r := range set.All() {
		if last := sub.sent[r.Name]; sub.wants(r.Name) && (sub.force || last == nil || last.Version != r.Version) {
			resp.resources = append(resp.resources, r)
		}
	}
	for name, last := range sub.sent {
		if last != gone && set.Get(name) == nil {
			resp.removed = append(resp.removed, name)
			delete(sub.sent, name)
		}
	}
	for name := range sub.names {
		if sub.sent[name] == nil && set.Get(name) == nil {
			if !slices.Contains(resp.removed, name) {
				resp.removed = append(resp.removed, name)
			}
			sub.sent[name] = gone
		}
	}
	slices.Sort(resp.removed)
	if len(resp.resources) == 0 && len(resp.removed) == 0 && !(sub.nonce == "" && sub.wildcard) {
		return nil
	}
	return resp
}
