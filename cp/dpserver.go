package cp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"koguma/cp/api"
	"koguma/xds"
)

// handshakeTimeout is how long a client may take to come in.
const handshakeTimeout = 5 * time.Second

// dpServer serves the proxies: ADS over gRPC and POST /bootstrap over HTTP, on one port under TLS. A client that can
// do with HTTP/1.1 gets that; one that speaks HTTP/2 only is here for gRPC.
type dpServer struct {
	listener net.Listener
	tls      *tls.Config
	grpc     *grpc.Server
	http     *http.Server
	log      *slog.Logger
}

func newDPServer(l net.Listener, cert *serverCert, ads *xds.Server, bootstrap http.Handler, log *slog.Logger) *dpServer {
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         cert.get,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"h2"},
	}
	plain := config.Clone()
	plain.NextProtos = []string{"http/1.1"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, "http/1.1") {
			return plain, nil
		}
		return nil, nil
	}
	g := grpc.NewServer(
		// Thousands of streams are open and idle: what each holds is what the control plane holds.
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(api.MaxHeader), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout), grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	ads.Register(g)
	return &dpServer{listener: l, tls: config, grpc: g, http: api.NewHTTPServer(bootstrap, log), log: log}
}

// run serves until the context ends, and then closes what is open: proxies go on with what they have.
func (d *dpServer) run(ctx context.Context) error {
	forGRPC, forHTTP := newQueue(d.listener.Addr()), newQueue(d.listener.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.accept(ctx, forGRPC, forHTTP) })
	g.Go(func() error { return d.grpc.Serve(forGRPC) })
	g.Go(func() error {
		if err := d.http.Serve(forHTTP); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		d.listener.Close()
		d.grpc.Stop()
		return d.http.Close()
	})
	return g.Wait()
}

// accept hands each connection to the server that speaks its protocol.
func (d *dpServer) accept(ctx context.Context, forGRPC, forHTTP *queue) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		raw, err := d.listener.Accept()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// Too many open files, as a rule: those who are in stay, and others come in when some have gone.
			d.log.Warn("connection not accepted", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		open.Go(func() {
			conn := tls.Server(raw, d.tls)
			shake, cancel := context.WithTimeout(ctx, handshakeTimeout)
			defer cancel()
			if err := conn.HandshakeContext(shake); err != nil {
				d.log.Debug("handshake failed", "peer", raw.RemoteAddr(), "error", err)
				raw.Close()
				return
			}
			if conn.ConnectionState().NegotiatedProtocol == "h2" {
				forGRPC.put(conn)
			} else {
				forHTTP.put(conn)
			}
		})
	}
}

// queue is a listener whose connections were accepted elsewhere.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		c.Close()
	}
}

// Accept implements [net.Listener].
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements [net.Listener].
func (q *queue) Addr() net.Addr { return q.addr }
