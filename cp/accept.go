package cp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"koguma/policy"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// labelLifetime marks the Dataplanes that proxies brought along: they go when their proxy leaves. Those that an
// operator applied stay.
const (
	labelLifetime   = "koguma.io/lifetime"
	lifetimeSession = "session"
)

// acceptor lets proxies in. It implements [xds.Acceptor].
type acceptor struct {
	store      store.Store
	verifier   token.Verifier
	open       bool // a proxy is what it says it is, and tokens are not looked at
	reconciler *reconciler
	builder    *xds.Builder
	metrics    *metrics
	refusals   *refusals
	log        *slog.Logger
	instanceID string
}

// Accept implements [xds.Acceptor]: who is on the stream is what the token proves, and nothing is looked up, decoded
// or written before its signature holds.
func (a *acceptor) Accept(ctx context.Context, node *corev3.Node, end func(error)) (xds.Session, error) {
	s, arrived, err := a.accept(ctx, node)
	if err != nil {
		check, refused := refusal(err)
		a.refusals.add("connect", peerOf(ctx), node.GetId(), check, err)
		return nil, refused
	}
	s.ctx, s.end = ctx, end
	s.expire()
	a.reconciler.join(s)
	arrived()
	if err := a.recheck(ctx, s); err != nil {
		_, err = refusal(err)
		end(err)
	}
	return s, nil
}

// recheck judges a session once more when it is among those that changes are judged for: what was withdrawn before that,
// and after it was let in, nobody has held against it.
func (a *acceptor) recheck(ctx context.Context, s *session) error {
	if !a.open {
		if err := a.verifier.Judge(s.claims, time.Now()); err != nil {
			return err
		}
	}
	d, err := a.stored(ctx, s.key)
	if err != nil {
		return err
	}
	if d == nil {
		return status.Errorf(codes.NotFound, "%s has been deleted", s.key)
	}
	if _, err := a.meshFor(ctx, d); err != nil {
		return err
	}
	return s.claims.Admit(d)
}

// accept makes the session of a proxy that may come in; arrived is to be called when it has joined.
func (a *acceptor) accept(ctx context.Context, node *corev3.Node) (s *session, arrived func(), err error) {
	mesh, name, ok := strings.Cut(node.GetId(), ".")
	if !ok || policy.ValidMeshName(mesh) != nil || policy.ValidName(name) != nil {
		return nil, nil, status.Error(codes.InvalidArgument, "the node id must be <mesh>.<name of the Dataplane>")
	}
	claims, err := a.authenticate(ctx, mesh, name)
	if err != nil {
		return nil, nil, err
	}
	if t := metadata(node, "dataplane.proxyType"); t != "" && t != "dataplane" {
		return nil, nil, status.Errorf(codes.InvalidArgument, "proxies of type %q are not served here", t)
	}
	key := policy.Key{Type: policy.TypeDataplane, Mesh: mesh, Name: name}
	arrived = a.reconciler.arrivals.begin(key)
	registered := false
	err = store.Again(func() (err error) {
		registered, err = a.admit(ctx, claims, key, metadata(node, "dataplane.resource"))
		return err
	})
	if err != nil {
		arrived()
		return nil, nil, err
	}
	s = &session{
		key:        key,
		claims:     claims,
		registered: registered,
		instance:   metadata(node, "dataplane.instance"),
		since:      time.Now().UTC(),
		builder:    a.builder,
		reconciler: a.reconciler,
		metrics:    a.metrics,
		log:        a.log,
		ids: identities{svids: map[string]*svid{}, applicant: applicant{
			mesh:     mesh,
			proxy:    name,
			notAfter: claims.ExpiresAt,
			issued:   a.metrics.certificate,
			token:    claims.ID,
			ledger:   a.reconciler.ledger,
		}},
		changed: make(chan struct{}),
		insight: newInsight(a.instanceID, time.Now()),
	}
	s.ids.poke = s.poke
	return s, arrived, nil
}

// authenticate is what the token of a stream proves.
func (a *acceptor) authenticate(ctx context.Context, mesh, name string) (token.Claims, error) {
	if a.open {
		return token.Claims{Mesh: mesh, Name: name}, nil
	}
	md, _ := grpcmetadata.FromIncomingContext(ctx)
	raw, err := token.FromMetadata(md.Get("authorization"))
	if err != nil {
		return token.Claims{}, err
	}
	return a.verifier.Verify(raw, mesh, time.Now())
}

// admit judges the Dataplane that the proxy brought along, or the one in the store if it brought none, and keeps it. A
// token has to fit the one that is in the store as well: else it could take another proxy's name. It reports whether
// the Dataplane goes when the proxy leaves.
func (a *acceptor) admit(ctx context.Context, claims token.Claims, key policy.Key, brought string) (registered bool, err error) {
	stored, err := a.stored(ctx, key)
	if err != nil {
		return false, err
	}
	if stored != nil {
		if err := claims.Admit(stored); err != nil {
			return false, err
		}
	}
	if brought == "" {
		if stored == nil {
			return false, status.Errorf(codes.NotFound, "there is no %s; apply it with kumactl apply -f, or start kuma-dp with --dataplane-file", key)
		}
		_, err := a.meshFor(ctx, stored)
		return stored.Labels[labelLifetime] == lifetimeSession, err
	}
	d, err := parseBrought(brought, key)
	if err != nil {
		return false, err
	}
	if err := claims.Admit(d); err != nil {
		return false, err
	}
	registered = stored == nil || stored.Labels[labelLifetime] == lifetimeSession
	d.Labels = maps.Clone(d.Labels)
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	delete(d.Labels, labelLifetime)
	if registered {
		d.Labels[labelLifetime] = lifetimeSession
	}
	return registered, a.keep(ctx, claims, d, stored)
}

// keep writes the Dataplane down, unless the store has it as it is. It takes the place of the one that was judged, or is
// an ErrConflict, and goes with the mesh or not at all: a mesh that is just being deleted takes nobody in.
func (a *acceptor) keep(ctx context.Context, claims token.Claims, d, stored *policy.Dataplane) error {
	mesh, err := a.meshFor(ctx, d)
	if err != nil || stored != nil && store.Same(d, stored) {
		return err
	}
	expect := store.Absent
	if stored != nil {
		expect = int64(stored.Version)
	}
	err = a.store.Write(ctx, store.Unchanged(mesh), store.Op{Put: d, Expect: expect})
	if errors.Is(err, store.ErrConflict) {
		return err
	}
	if err != nil {
		return status.Errorf(codes.Unavailable, "%s cannot be kept: %v", d.Key(), err)
	}
	auditChange(a.log, "proxy "+d.Name, http.MethodPut, d.Key(), append([]any{"peer", peerOf(ctx)}, bearer(claims)...)...)
	return nil
}

// meshFor is the mesh of a Dataplane that may be in it.
func (a *acceptor) meshFor(ctx context.Context, d *policy.Dataplane) (*policy.Mesh, error) {
	r, err := a.store.Get(ctx, policy.Key{Type: policy.TypeMesh, Name: d.Mesh})
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "%s cannot be judged: %v", d.Key(), err)
	}
	mesh := r.(*policy.Mesh)
	return mesh, mesh.Admit(d)
}

// stored is the Dataplane in the store, nil if there is none.
func (a *acceptor) stored(ctx context.Context, key policy.Key) (*policy.Dataplane, error) {
	r, err := a.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "%s cannot be read: %v", key, err)
	}
	return r.(*policy.Dataplane), nil
}

// parseBrought is the Dataplane that a proxy brought along, which must be the one that it says it is.
func parseBrought(text string, key policy.Key) (*policy.Dataplane, error) {
	r, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "dataplane.resource: %v", err)
	}
	d, ok := r.(*policy.Dataplane)
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "dataplane.resource is a %s, not a Dataplane", r.Metadata().Type)
	}
	if d.Key() != key {
		return nil, status.Errorf(codes.PermissionDenied, "the proxy says that it is %s, but brought %s", key, d.Key())
	}
	if err := d.Validate(); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%s is not valid: %v", key, err)
	}
	return d, nil
}

// peerOf is where a stream comes from.
func peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}
