package xds

import (
	"maps"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// sotw is the state-of-the-world variant: each request names all that the client wants, and a response with listeners
// or clusters has all of them.
type sotw struct {
	grpc discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

func (w sotw) recv() (*request, error) {
	r, err := w.grpc.Recv()
	if err != nil {
		return nil, err
	}
	return &request{
		typ:     r.GetTypeUrl(),
		node:    r.GetNode(),
		nonce:   r.GetResponseNonce(),
		nack:    r.GetErrorDetail() != nil,
		reason:  r.GetErrorDetail().GetMessage(),
		names:   r.GetResourceNames(),
		version: r.GetVersionInfo(),
	}, nil
}

func (w sotw) send(r *response) error {
	out := &discoveryv3.DiscoveryResponse{TypeUrl: r.typ, VersionInfo: r.version, Nonce: r.nonce}
	out.Resources = make([]*anypb.Any, len(r.resources))
	for i, res := range r.resources {
		out.Resources[i] = &anypb.Any{TypeUrl: r.typ, Value: res.Body}
	}
	return w.grpc.Send(out)
}

func (w sotw) apply(sub *subscription, r *request, answers bool) bool {
	if r.nonce != sub.nonce && r.nonce != "" {
		return false // it crossed with a newer response, and the client's answer to that one will say what it wants
	}
	old := subscription{wildcard: sub.wildcard, names: sub.names}
	sub.names = map[string]bool{}
	sub.wildcard = len(r.names) == 0 && !sub.named && all(sub.typ)
	for _, name := range r.names {
		sub.add(name)
	}
	if sub.nonce != "" && sub.wildcard == old.wildcard && maps.Equal(sub.names, old.names) {
		// Neither an answer nor a change: the client asks again. It does so for the endpoints of a cluster that it
		// is about to replace, and would wait for them for ever.
		sub.force = !answers && !sub.pending && !r.nack
		return sub.force
	}
	for name := range sub.sent {
		if !sub.wants(name) {
			delete(sub.sent, name)
		}
	}
	return true
}

func (w sotw) answer(sub *subscription, set *Set) *response {
	var wanted, changed []*Resource
	for _, r := range set.All() {
		if !sub.wants(r.Name) {
			continue
		}
		wanted = append(wanted, r)
		if last := sub.sent[r.Name]; sub.force || last == nil || last.Version != r.Version {
			changed = append(changed, r)
		}
	}
	lost := false
	for name := range sub.sent {
		if set.Get(name) == nil {
			delete(sub.sent, name)
			lost = true
		}
	}
	if all(sub.typ) {
		// Even an empty answer to the first request tells the client something.
		if len(changed) > 0 || lost || sub.nonce == "" || sub.force {
			return &response{resources: wanted}
		}
		return nil
	}
	if len(changed) == 0 {
		return nil
	}
	return &response{resources: changed}
}
