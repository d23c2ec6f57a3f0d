package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/mistake"
	"koguma/policy"
	"koguma/xds"
)

var errReplaced = status.Error(codes.Aborted, "a newer stream has taken the place of this one")

// serveADS serves Envoy until ctx ends.
func (a *Agent) serveADS(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10))
	discovery := xds.NewServer(acceptor{nodeID: a.nodeID(), state: a.state, history: a.history, log: a.cfg.Log})
	discovery.Repeat = time.Second
	discovery.Register(server)
	accesslogv3.RegisterAccessLogServiceServer(server, accessLog{mesh: a.cfg.Mesh, denials: a.denials})
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("ADS server for envoy: %w", err)
	}
	return nil
}

// acceptor lets Envoy in. Nobody else can open the socket.
type acceptor struct {
	nodeID  string
	state   *state
	history *history
	log     *slog.Logger
}

// Accept implements [xds.Acceptor].
func (a acceptor) Accept(_ context.Context, node *corev3.Node, end func(error)) (xds.Session, error) {
	if node.GetId() != a.nodeID {
		return nil, status.Errorf(codes.PermissionDenied, "this agent is that of %q, not of %q", a.nodeID, node.GetId())
	}
	n := &session{state: a.state, history: a.history, log: a.log, end: end, sent: map[string]*xds.Set{}}
	a.state.attach(n, node)
	return n, nil
}

// session is one stream of Envoy.
type session struct {
	state   *state
	history *history
	log     *slog.Logger
	end     func(error)

	// The server calls all methods from one goroutine, so these need no lock.
	snapshot *xds.Snapshot       // what the server looked at last
	sent     map[string]*xds.Set // what Envoy was last sent of each type
	mistaken string              // what was logged last of what people have to mend
}

// Snapshot implements [xds.Session].
func (n *session) Snapshot() (*xds.Snapshot, <-chan struct{}) {
	s, changed := n.state.current()
	n.snapshot = s
	return s, changed
}

// Observe implements [xds.Session].
func (n *session) Observe(e xds.Event) {
	if e.Kind == xds.Sent {
		n.sent[e.Type] = n.snapshot.Of(e.Type)
	}
	if e.Kind == xds.Nacked {
		reason := "envoy refused its " + short(e.Type) + ": " + strings.TrimSpace(e.Reason)
		n.history.wrong(reason)
		if err := refusedByEnvoy(errors.New(reason)); n.mistaken != reason && mistake.Attrs(err) != nil {
			n.mistaken = reason
			n.log.Warn(reason, mistake.Attrs(err)...)
		}
	}
	n.state.observe(n, e, n.sent[e.Type])
}

// Close implements [xds.Session].
func (n *session) Close(bool) { n.state.detach(n) }

// versionOf is what Envoy says of itself in its node.
func versionOf(node *corev3.Node) policy.SoftwareVersion {
	b := node.GetUserAgentBuildVersion()
	if b == nil {
		return policy.SoftwareVersion{}
	}
	v := fmt.Sprintf("%d.%d.%d", b.GetVersion().GetMajorNumber(), b.GetVersion().GetMinorNumber(), b.GetVersion().GetPatch())
	part := func(key string) string {
		return cmp.Or(b.GetMetadata().GetFields()[key].GetStringValue(), "unknown")
	}
	build := []string{part("revision.sha"), v, part("revision.status"), part("build.type"), part("ssl.version")}
	return policy.SoftwareVersion{Version: v, Build: strings.Join(build, "/")}
}
