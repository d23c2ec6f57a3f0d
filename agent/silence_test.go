package agent_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"koguma/agent"
	"koguma/certs"
	"koguma/token"
)

// A stream to a control plane that has been stopped, or whose packets are lost, ends; one on which nothing is said does not.
func TestSilentControlPlane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		serverEnd, clientEnd := net.Pipe()
		clientEnd = &deaf{Conn: clientEnd, stopped: stopped, closed: make(chan struct{})}
		ca := newCA(t, "control-plane")
		server := serveQuietly(t, ca, serverEnd)
		defer server.Stop()
		conn := connect(t, ca, clientEnd)
		defer conn.Close()
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := stream.Recv()
			ended <- err
		}()
		time.Sleep(time.Hour)
		select {
		case err := <-ended:
			t.Fatalf("a stream on which nothing is said has ended: %v", err)
		default:
		}
		close(stopped)
		begin := time.Now()
		<-ended
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("noticed after %v, want 15s at most", took)
		}
	})
}

// Who takes connections and does not speak is given up after five seconds.
func TestSilentWhileConnecting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		there, here := net.Pipe()
		defer there.Close()
		conn := connect(t, newCA(t, "control-plane"), here)
		defer conn.Close()
		begin := time.Now()
		_, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
		if took := time.Since(begin); err == nil || took != 5*time.Second {
			t.Errorf("error %v after %v, want one after 5s", err, took)
		}
	})
}

// A control plane that does not make up its mind is given up when there is another. The only one has all the time it takes.
func TestControlPlaneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{Dataplane: web("web"), Token: newToken(t, token.Claims{ExpiresAt: time.Now().Add(24 * time.Hour)}), CPAddresses: []string{"https://a:1"}}
		broken := errors.New("broken")
		for range 2 {
			a, err := agent.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			failed := make(chan error, 1)
			time.AfterFunc(time.Hour, func() { failed <- broken })
			begin := time.Now()
			err = a.AwaitFirst(sink{}, failed)
			took := time.Since(begin)
			if several := len(cfg.CPAddresses) > 1; several != (took == 10*time.Second) || several == errors.Is(err, broken) {
				t.Errorf("of %d control planes one was given up after %v: %v", len(cfg.CPAddresses), took, err)
			}
			cfg.CPAddresses = append(cfg.CPAddresses, "https://b:1")
		}
	})
}

// sink is a stream on which nothing comes.
type sink struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (sink) Send(*discoveryv3.DiscoveryRequest) error { return nil }

// connect prepares a connection as an agent does, but over one that there is already.
func connect(t *testing.T, ca *certs.CA, raw net.Conn) *grpc.ClientConn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	once := make(chan net.Conn, 1)
	once <- raw
	conn, err := grpc.NewClient("passthrough:///localhost:5678", append(
		agent.DialOptions(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, net.ErrClosed
			}
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// quiet is an ADS server that says nothing.
type quiet struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
}

func (quiet) StreamAggregatedResources(s discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	<-s.Context().Done()
	return s.Context().Err()
}

// serveQuietly serves one connection.
func serveQuietly(t *testing.T, ca *certs.CA, raw net.Conn) *grpc.Server {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.IssueServer(key.Public(), []string{"localhost"}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
	})))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, quiet{})
	conns := make(oneConn, 1)
	conns <- raw
	go func() { _ = server.Serve(conns) }()
	return server
}

// oneConn is a listener with what connections are in it.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }
func (l oneConn) Close() error   { close(l); return nil }

// deaf is a connection that hears nothing any more once stopped is closed, and does not know it. What is written is gone.
type deaf struct {
	net.Conn
	stopped <-chan struct{}
	once    sync.Once
	closed  chan struct{}
}

func (c *deaf) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.stopped:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *deaf) Write(p []byte) (int, error) {
	select {
	case <-c.stopped:
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

func (c *deaf) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
