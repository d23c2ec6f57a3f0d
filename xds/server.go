package xds

import (
	"context"
	"errors"
	"io"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Server serves the aggregated discovery service in both its variants.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	// Repeat is how long after a refusal the client is sent the same again, because what was in the way may be gone: a
	// port that another program had. Each time it takes twice as long, a minute at most. 0: never. It is set before
	// [Server.Register].
	Repeat time.Duration

	acceptor Acceptor
}

// NewServer is a server of streams that the acceptor lets in.
func NewServer(a Acceptor) *Server { return &Server{acceptor: a} }

// Register makes the server known to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// StreamAggregatedResources serves the state-of-the-world variant.
func (s *Server) StreamAggregatedResources(g discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(g.Context(), sotw{g})
}

// DeltaAggregatedResources serves the delta variant.
func (s *Server) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(g.Context(), delta{g})
}

// wire is one variant of the protocol: how it says what both have in common.
type wire interface {
	// recv blocks for the next request.
	recv() (*request, error)
	// send sends the resources of a response. Either variant leaves out what it cannot say.
	send(*response) error
	// apply brings a subscription up to date with a request, and reports whether the client asked for something, if
	// only again. answers says that the request is the answer to the newest response.
	apply(sub *subscription, r *request, answers bool) bool
	// answer is what the client still lacks of the set, nil if nothing.
	answer(*subscription, *Set) *response
}

// request is a request of either variant.
type request struct {
	typ    string
	node   *corev3.Node
	nonce  string
	nack   bool
	reason string // of the refusal, in the client's words

	names                  []string          // state of the world: all that is asked for
	version                string            // state of the world: the last one accepted; delta: anyVersion
	subscribe, unsubscribe []string          // delta
	held                   map[string]string // delta: names and versions that the client has from an earlier stream
}

// anyVersion is the version in requests of the variant that names none.
const anyVersion = "*"

// response is a response of either variant.
type response struct {
	typ, version, nonce string
	resources           []*Resource
	removed             []string
}

// firstRequest is how long a stream may take to say who it is.
const firstRequest = 5 * time.Second

// serve runs one stream to its end.
//
// A second goroutine only receives; it ends when the stream's context does, which gRPC sees to as soon as serve
// returns. Everything else, the session included, belongs to this goroutine.
func (s *Server) serve(ctx context.Context, w wire) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	requests, failed := receive(ctx, w)
	var first *request
	select {
	case first = <-requests:
	case err := <-failed:
		return err
	case <-time.After(firstRequest):
		return status.Errorf(codes.DeadlineExceeded, "the first request of the stream did not come within %v", firstRequest)
	}
	if first.node.GetId() == "" {
		return status.Error(codes.InvalidArgument, "the first request of a stream must carry a node with an id")
	}
	session, err := s.acceptor.Accept(ctx, first.node, end)
	if err != nil {
		return err
	}
	st := &stream{wire: w, session: session, nodeID: first.node.GetId(), pause: s.Repeat}
	left, err := st.run(ctx, first, requests, failed)
	session.Close(left)
	return err
}

// receive turns the requests of a stream into a channel. The error that ends them is sent on the second one.
func receive(ctx context.Context, w wire) (<-chan *request, <-chan error) {
	requests, failed := make(chan *request), make(chan error, 1)
	go func() {
		for {
			r, err := w.recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, failed
}

// run answers requests and passes on snapshots until the stream ends, and reports whether the client left in good
// order.
func (st *stream) run(ctx context.Context, first *request, requests <-chan *request, failed <-chan error) (bool, error) {
	if err := st.handle(first); err != nil {
		return false, err
	}
	for {
		snapshot, changed := st.session.Snapshot()
		if err := st.push(snapshot); err != nil {
			return false, err
		}
		var repeat <-chan time.Time
		if at := st.nextRepeat(); !at.IsZero() {
			repeat = time.After(time.Until(at))
		}
		select {
		case <-changed:
		case <-repeat:
			st.repeat(time.Now())
		case r := <-requests:
			if err := st.handle(r); err != nil {
				return false, err
			}
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return true, nil
			}
			return false, err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
