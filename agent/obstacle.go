package agent

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// obstacle is what kept a connection from coming about, as it was before gRPC made a text of it. It is safe for concurrent
// use, and a nil one has met nothing.
type obstacle struct {
	mu  sync.Mutex
	err error // the newest; nil if a connection came about
}

func (o *obstacle) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// replace is err, with what was met as its text and cause if err is that there is no connection.
func (o *obstacle) replace(err error) error {
	if o == nil || status.Code(err) != codes.Unavailable {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return err
	}
	return &setback{status.New(codes.Unavailable, o.err.Error()), o.err}
}

// dial opens a connection without TLS.
func (o *obstacle) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", address) // gRPC keeps it alive
	o.note(err)
	return conn, err
}

// noting are credentials that write down why a handshake failed.
type noting struct {
	credentials.TransportCredentials
	obstacle *obstacle
}

// ClientHandshake implements [credentials.TransportCredentials].
func (n noting) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		err = fmt.Errorf("%s: %w", raw.RemoteAddr(), err)
	}
	n.obstacle.note(err)
	return conn, info, err
}

// Clone implements [credentials.TransportCredentials].
func (n noting) Clone() credentials.TransportCredentials {
	return noting{n.TransportCredentials.Clone(), n.obstacle}
}

// setback is a status without the words of the transport around its message.
type setback struct {
	status *status.Status
	cause  error // nil if all there is came from the control plane
}

// Error implements error.
func (s *setback) Error() string { return s.status.Message() }

// Unwrap is what the message was made from.
func (s *setback) Unwrap() error { return s.cause }

// GRPCStatus tells the code of the status.
func (s *setback) GRPCStatus() *status.Status { return s.status }
