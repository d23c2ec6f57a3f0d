package agent

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"koguma/xds"
)

// workloadAPI gives programs beside the agent the identity that Envoy has, by the SPIFFE Workload API. Whoever can open
// its socket gets the private keys.
type workloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	mesh  string
	state *state
	base  []string
	turns chan struct{} // holds a value for each stream that is served
}

// mostStreams bounds how many streams of the Workload API there are at a time. Each costs a goroutine and one answer.
const mostStreams = 128

// listenWorkloadAPI opens the socket; nil if there is to be none. remove takes it away again.
func (a *Agent) listenWorkloadAPI() (l net.Listener, remove func(), err error) {
	if a.cfg.WorkloadAPISocket == "" {
		return nil, func() {}, nil
	}
	l, remove, err = listenAt(a.cfg.WorkloadAPISocket)
	if err != nil {
		return nil, nil, fmt.Errorf("--workload-api-socket: %w", err)
	}
	return l, remove, nil
}

// serveWorkloadAPI serves programs until ctx ends, or nobody if there is no listener.
func (a *Agent) serveWorkloadAPI(ctx context.Context, l net.Listener) error {
	if l == nil {
		return nil
	}
	server := grpc.NewServer(
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10), grpc.MaxRecvMsgSize(64<<10), grpc.MaxHeaderListSize(16<<10),
		grpc.ConnectionTimeout(5*time.Second),
		// A program that has stopped is let go of.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := meant(ctx); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := meant(s.Context()); err != nil {
				return err
			}
			return next(srv, s)
		}),
	)
	workload.RegisterSpiffeWorkloadAPIServer(server, &workloadAPI{
		mesh: a.cfg.Mesh, state: a.state, base: a.base, turns: make(chan struct{}, mostStreams),
	})
	a.cfg.Log.Info("workload API", "socket", "unix://"+a.cfg.WorkloadAPISocket)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("workload API: %w", err)
	}
	return nil
}

// meant refuses requests without the header by which a client says that it means the Workload API: one that was tricked
// into sending a request here does not have it.
func meant(ctx context.Context) error {
	const header = "workload.spiffe.io"
	if md, _ := metadata.FromIncomingContext(ctx); !slices.Equal(md.Get(header), []string{"true"}) {
		return status.Errorf(codes.InvalidArgument, "the security header is missing; send %s: true", header)
	}
	return nil
}

// FetchX509SVID sends the identity of each service, the first service's first, and again whenever something has changed.
func (w *workloadAPI) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return follow(w, stream, func(all []xds.Identity, t xds.Trust) *workload.X509SVIDResponse {
		r := &workload.X509SVIDResponse{Crl: ders(t.CRL)}
		for _, i := range all {
			svid := &workload.X509SVID{SpiffeId: i.SPIFFEID(), Bundle: bundle(t), Hint: i.Service()}
			for _, c := range i.Chain {
				svid.X509Svid = append(svid.X509Svid, c.Raw...)
			}
			svid.X509SvidKey = slices.Concat(ders(i.KeyPEM)...)
			r.Svids = append(r.Svids, svid)
		}
		return r
	})
}

// FetchX509Bundles sends the roots of the mesh, and again whenever they or the revocation list have changed.
func (w *workloadAPI) FetchX509Bundles(_ *workload.X509BundlesRequest, stream workload.SpiffeWorkloadAPI_FetchX509BundlesServer) error {
	return follow(w, stream, func(_ []xds.Identity, t xds.Trust) *workload.X509BundlesResponse {
		return &workload.X509BundlesResponse{Crl: ders(t.CRL), Bundles: map[string][]byte{"spiffe://" + w.mesh: bundle(t)}}
	})
}

// bundle is the roots in DER, one after the other.
func bundle(t xds.Trust) []byte {
	var all []byte
	for _, c := range t.Roots {
		all = append(all, c.Raw...)
	}
	return all
}

// ders are what is in PEM blocks.
func ders(text []byte) [][]byte {
	var all [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

var errNoIdentity = status.Error(codes.PermissionDenied, "no identity issued; /ready of the agent says what is missing")

// follow sends what make makes of the valid identities, at once and whenever that has changed, until there is none any
// more or the client has gone. A client that takes its time gets the newest, and what was between is left out.
func follow[M proto.Message](w *workloadAPI, stream grpc.ServerStream, make func([]xds.Identity, xds.Trust) M) error {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	default:
		return status.Errorf(codes.ResourceExhausted, "there are %d streams already", mostStreams)
	}
	var last proto.Message
	for {
		set, turned := w.state.usable()
		all, trust, end := w.valid(set, time.Now())
		if len(all) == 0 || len(trust.Roots) == 0 {
			return errNoIdentity
		}
		if next := make(all, trust); last == nil || !proto.Equal(last, next) {
			if err := stream.SendMsg(next); err != nil {
				return err
			}
			last = next
		}
		expired := time.NewTimer(time.Until(end))
		select {
		case <-turned:
		case <-expired.C:
		case <-stream.Context().Done():
			expired.Stop()
			return stream.Context().Err()
		}
		expired.Stop()
	}
}

// valid are the identities in a set that have not ended and are still asked for, and when the first of them ends.
func (w *workloadAPI) valid(set *xds.Set, now time.Time) (all []xds.Identity, t xds.Trust, end time.Time) {
	found, t := xds.ReadSecrets(w.mesh, keep(set, w.state.names(xds.TypeSecret, w.base)))
	for _, i := range found {
		notAfter := (&svid{chain: i.Chain}).notAfter()
		if !now.Before(notAfter) {
			continue
		}
		if all = append(all, i); end.IsZero() || notAfter.Before(end) {
			end = notAfter
		}
	}
	return all, t, end
}

const noJWT = "there are no JWT-SVIDs here; use X.509-SVIDs (FetchX509SVID)"

// FetchJWTSVID is not implemented, and says so.
func (*workloadAPI) FetchJWTSVID(context.Context, *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	return nil, status.Error(codes.Unimplemented, noJWT)
}

// FetchJWTBundles is not implemented, and says so.
func (*workloadAPI) FetchJWTBundles(*workload.JWTBundlesRequest, workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return status.Error(codes.Unimplemented, noJWT)
}

// ValidateJWTSVID is not implemented, and says so.
func (*workloadAPI) ValidateJWTSVID(context.Context, *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	return nil, status.Error(codes.Unimplemented, noJWT)
}
