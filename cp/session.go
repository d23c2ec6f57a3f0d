package cp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// session is one proxy that was let in, from the opening of its stream to its end. It implements [xds.Session].
//
// The reconciler offers it what it should have; the goroutine of its stream makes the resources and the certificates
// from that. So the work of many is done on all cores, and one that takes its time holds nobody up.
type session struct {
	key    policy.Key
	claims token.Claims
	// registered is whether the proxy brought its Dataplane along, which then goes when it leaves.
	registered bool
	instance   string // which run of the agent this is, "" if there is none
	since      time.Time
	builder    *xds.Builder
	reconciler *reconciler
	metrics    *metrics
	log        *slog.Logger
	ctx        context.Context
	end        func(error)
	delivery   delivery
	taken      taken

	speaks atomic.Bool   // the proxy dials under mTLS
	whole  atomic.Uint64 // the version of the Dataplane that it has taken wholly, 0 if none yet
	// The stream's goroutine's own.
	ids      identities
	leaf     *svid // of the first service, as the insight has it
	built    *xds.View
	names    string // of the certificate, with which it was built
	made     making
	wants    []want                              // of the Dataplane that the snapshot was made for
	took     struct{ secrets, listeners string } // the versions that the proxy has taken last
	settled  *policy.Dataplane                   // that the proxy is known to have taken
	base     *xds.Snapshot
	of       *xds.View // that base was built from
	trusted  []string  // that base has the roots of
	secrets  []*xds.Resource
	snapshot *xds.Snapshot
	timer    *time.Timer // wakes the stream when something is due

	mu      sync.Mutex
	view    *xds.View // nil until the reconciler has looked at the proxy
	making  making    // what goes with the view
	changed chan struct{}
	insight insight
	expiry  *time.Timer // ends the session with its token

	presented presented // guarded by mu
	takes     string    // guarded by mu: the mode of the listeners that it is known to use, "" where that may be plaintext
}

// making is what a proxy's configuration is made from, besides its view.
type making struct {
	auth      *trust
	dataplane *policy.Dataplane
}

// offer tells the session what its proxy should have.
func (s *session) offer(v *xds.View, auth *trust, d *policy.Dataplane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil { // judged, and closed: it gets nothing more
		return
	}
	v.Notes = s.instance != "" // there is an agent, which takes them off
	m := making{auth, d}
	if s.view != nil && s.view.Equal(v) {
		v = s.view
	}
	if s.view == v && s.making == m {
		return
	}
	s.view, s.making = v, m
	s.delivery.offered(time.Now())
	s.wake()
}

// wake has the stream look again. The caller holds the lock.
func (s *session) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// poke is wake for who does not hold the lock.
func (s *session) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

// Snapshot implements [xds.Session].
func (s *session) Snapshot() (*xds.Snapshot, <-chan struct{}) {
	s.mu.Lock()
	view, m, changed := s.view, s.making, s.changed
	s.mu.Unlock()
	if view == nil {
		return nil, changed
	}
	s.build(view, m.auth)
	if s.base == nil {
		return nil, changed
	}
	if m.dataplane != s.made.dataplane {
		s.wants = wants(m.dataplane)
	}
	s.identify(m)
	s.build(view, m.auth) // again, if there is a certificate with other names now
	if s.snapshot == nil {
		s.snapshot = s.base.WithSecrets(s.secrets...)
	}
	s.mu.Lock()
	s.delivery.built(s.snapshot, s.of == s.view, time.Now())
	s.mu.Unlock()
	s.taken.made(s.snapshot, s.of)
	s.made = m
	s.settle()
	return s.snapshot, changed
}

// build makes the resources that follow from a view. While a certificate with other names is being made, which may take a
// CA elsewhere a while, the clusters are those of the one that there is: they change with it, and not before.
func (s *session) build(view *xds.View, auth *trust) {
	names := view.Names
	if s.leaf != nil && view.MTLS {
		names = s.leaf.names
	}
	if view == s.built && names == s.names {
		return
	}
	with := *view
	with.Names = names
	base, err := s.builder.Build(&with)
	s.report(faultBuild, err)
	if err == nil {
		s.base, s.of, s.snapshot = base, view, nil
		s.trusted = auth.fingerprints()
	}
	s.built, s.names = view, names
}

// use is what the proxy does that has taken the newest secrets that it asked for.
func (s *session) use() secretState {
	u := secretState{Leaves: s.ids.inUse(), Blank: s.ids.public != nil && !s.ids.came}
	if s.ids.asked[xds.CASecretName(s.key.Mesh)] {
		u.Roots = s.trusted
	}
	return u
}

// identify sees to the certificates that the proxy asked for.
func (s *session) identify(m making) {
	now := time.Now()
	secrets, err := s.ids.secrets(s.ctx, m.auth, s.wants, now)
	s.report(faultIdentity, err)
	if s.delivery.signing(m.auth, len(s.ids.lacking(s.ids.wanted(m.auth, s.wants), time.Now())) > 0) {
		s.reconciler.roll.touch(s.key)
	}
	if due := s.ids.due(now); !due.IsZero() {
		s.wakeAt(due)
	}
	if !sameSecrets(s.secrets, secrets) {
		s.secrets, s.snapshot = secrets, nil
	}
	if leaf := s.ids.svids[s.wants[0].secret]; leaf != s.leaf {
		s.leaf = leaf
		s.mu.Lock()
		s.insight.certificate(leaf.certificate(), m.auth, leaf != nil && leaf.made)
		s.mu.Unlock()
	}
}

func sameSecrets(a, b []*xds.Resource) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (s *session) wakeAt(t time.Time) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(time.Until(t), s.poke)
}

// What can go wrong on this side.
const (
	faultView     = "the configuration cannot be told; the proxy keeps its last one"
	faultBuild    = "the configuration cannot be built; the proxy keeps its last one"
	faultIdentity = "no certificate; it will be tried again"
)

// report notes that something has gone wrong, or for a nil error that it no longer does.
func (s *session) report(fault string, err error) {
	s.mu.Lock()
	last, now := s.insight.faults[fault], ""
	if err != nil {
		now = err.Error()
		s.insight.faults[fault] = now
		s.insight.wrong(now)
		s.metrics.failed(fault)
	} else {
		delete(s.insight.faults, fault)
	}
	s.mu.Unlock()
	if now == last {
		return
	}
	s.reconciler.roll.touch(s.key)
	if err != nil {
		s.log.Error(fault, "proxy", s.key.Name, "mesh", s.key.Mesh, "error", err)
	}
}

// fault is what is wrong now, "" if nothing is.
func (s *session) fault(fault string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insight.faults[fault]
}

// Close implements [xds.Session].
func (s *session) Close(left bool) {
	s.ids.close()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Lock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.mu.Unlock()
	cause := context.Cause(s.ctx)
	if left {
		cause = nil
	}
	s.metrics.closed.WithLabelValues(closing(left, cause)).Inc()
	// Who was judged and put out is no longer sent anybody, although its Envoy may still be there.
	out := status.Code(cause) == codes.Unauthenticated || status.Code(cause) == codes.PermissionDenied
	s.reconciler.part(s, left, out)
	if st, ok := status.FromError(cause); ok && st.Code() != codes.OK && !errors.Is(cause, context.Canceled) {
		s.log.Info("session closed", "proxy", s.key.Name, "mesh", s.key.Mesh, "jti", s.claims.ID, "reason", st.Message())
	}
}

// overview is what was seen of the proxy so far.
func (s *session) overview() policy.DataplaneInsight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insight.overview()
}

// pending is what the proxy does not have yet, as far as it has said, of what follows from the store at that version;
// empty if it has all.
func (s *session) pending(version uint64) []policy.Pending {
	if s.reconciler.progress.of(s.key.Mesh) < version {
		return []policy.Pending{{Reason: stillMaking}}
	}
	pending := s.delivery.pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range slices.Sorted(maps.Keys(s.insight.faults)) {
		pending = append(pending, policy.Pending{Reason: fault + ": " + s.insight.faults[fault]})
	}
	return pending
}
