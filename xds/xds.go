// Package xds turns a [View] of a mesh into Envoy's resources, and serves them over the discovery protocol.
//
// The building is pure: [Builder.Build] gives the same bytes for the same View, whatever came before, and each Envoy
// resource is made in one place, in the file named for it. Versions are hashes of content. The serving ([Server])
// speaks both variants of ADS, state of the world and delta; it knows nothing of meshes and asks a [Session] what each
// stream should have. The control plane serves proxies with it, and the agent its Envoy.
package xds

import (
	"context"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// The types of resources, by the URL that the protocol knows them by.
const (
	TypeCluster  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoint = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeListener = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeSecret   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// TypeReport is the type in a request that asks for nothing: the client has something to say, in the metadata of its node.
// There is no answer. A server that does not know it passes it over.
const TypeReport = "type.googleapis.com/koguma.Report"

// Types are the types that are served, in the order in which a change of several of them goes out: what is referred to
// comes before what refers to it.
var types = [...]string{TypeSecret, TypeCluster, TypeEndpoint, TypeListener}

// Acceptor decides who may open a stream.
type Acceptor interface {
	// Accept is called with the first request of a stream. The error, a gRPC status, ends the stream. end may be
	// called at any time and from anywhere; it ends the stream with the error it is given.
	Accept(ctx context.Context, node *corev3.Node, end func(error)) (Session, error)
}

// Session is what one stream is served from. All methods but Snapshot are called from one goroutine.
type Session interface {
	// Snapshot is what the stream should have now, and a channel that is closed when there is another. A nil
	// Snapshot has nothing for anybody yet: no request is answered.
	Snapshot() (*Snapshot, <-chan struct{})
	// Observe is told what the client did. It is called before the server looks for what to answer, so a Snapshot
	// that changes within Observe is what the client gets.
	Observe(Event)
	// Close is called once, when the stream has ended; left says that the client closed its side in good order.
	Close(left bool)
}

// EventKind says what a client did.
type EventKind int

// The kinds of events.
const (
	// Subscribed: the client asks for resources, the first time or again.
	Subscribed EventKind = iota
	// Sent: a response has gone out.
	Sent
	// Acked: the client has all that it asked for of the type, as it is in the set with this version.
	Acked
	// Nacked: the client refused the set with this version, and keeps what it had.
	Nacked
	// Reported: the client says something, and asks for nothing.
	Reported
)

// Event is something that happened on a stream.
type Event struct {
	Kind    EventKind
	Type    string       // a type URL
	Node    *corev3.Node // Subscribed, Reported: nil where the request carried none
	Names   []string     // Subscribed: what the stream asks for by name, sorted; nil if it asks for all
	Version string       // Acked, Nacked: the version of the Set
	Reason  string       // Nacked: the client's own words
	Idle    bool         // Acked: the client had it all already, and no response was sent
}
