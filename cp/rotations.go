package cp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"koguma/certs"
	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/store"
)

// rotations has the trust of each mesh follow its Mesh. It takes one step after the other, each one write; what it looks
// at is how the reconciler sees the mesh, what the ledger knows of certificates, and what proxies have ACKed.
type rotations struct {
	store   store.Store
	ledger  *ledger.Ledger
	heard   func(mesh string, living map[string][]policy.IssuedCertificate) map[string]heard
	silence func(version uint64) []string // of other control planes, that do not say how their proxies stand since then
	log     *slog.Logger
	metrics *metrics
	started time.Time
	wake    chan struct{}

	mu     sync.Mutex
	meshes map[string]*course
}

// heard is what is known of a proxy by its streams.
type heard struct {
	use       secretUse
	connected bool
	fault     string
}

// course is where the trust of a mesh stands.
type course struct {
	outlook *outlook
	look    bool             // at it again
	restive bool             // there is something to wait for
	waits   []policy.Blocker // as of the last look
	ends    map[string]time.Time
}

// A mesh that waits for something is looked at again after restRotation, as certificates end without anybody saying so,
// and never sooner than pauseRotation after the last time.
const (
	restRotation  = time.Second
	pauseRotation = 10 * time.Millisecond
)

// see takes in how a mesh stands; nil is that it is gone.
func (r *rotations) see(mesh string, o *outlook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o == nil {
		if r.meshes[mesh] != nil {
			delete(r.meshes, mesh)
			r.metrics.forgetTrust(mesh)
		}
		return
	}
	c := r.meshes[mesh]
	if c == nil {
		c = &course{}
		r.meshes[mesh] = c
	}
	if c.outlook == nil || c.outlook.trust != o.trust {
		c.ends = endsOf(o.trust)
	}
	c.outlook, c.look = o, true
	r.signal()
}

// look has a mesh looked at again, if it waits for something.
func (r *rotations) look(mesh string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.meshes[mesh]; c != nil && c.restive {
		c.look = true
		r.signal()
	}
}

func (r *rotations) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run takes the steps until the context ends.
func (r *rotations) run(ctx context.Context) error {
	rest := time.NewTimer(restRotation)
	defer rest.Stop()
	for {
		select {
		case <-r.wake:
		case <-rest.C:
			r.lookAgain()
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, mesh := range r.take() {
			if _, err := r.advance(ctx, mesh, false); err != nil && ctx.Err() == nil {
				r.log.Error("the trust of the mesh could not be written down; trying again", "mesh", mesh, "error", err)
			}
		}
		if r.waiting() {
			rest.Reset(restRotation)
		}
		select {
		case <-time.After(pauseRotation): // who ACKs meanwhile is looked at together
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *rotations) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var meshes []string
	for mesh, c := range r.meshes {
		if c.look {
			c.look = false
			meshes = append(meshes, mesh)
		}
	}
	slices.Sort(meshes)
	return meshes
}

func (r *rotations) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.meshes {
		if c.restive {
			return true
		}
	}
	return false
}

func (r *rotations) lookAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.meshes {
		c.look = c.look || c.restive
	}
}

// advance takes the next step of a mesh if there is nothing to wait for, or by force, and returns those whom force did not
// wait for. A step that somebody else took first is left to the next look.
func (r *rotations) advance(ctx context.Context, mesh string, force bool) (passed []policy.Blocker, err error) {
	r.mu.Lock()
	c := r.meshes[mesh]
	if c == nil {
		r.mu.Unlock()
		return nil, nil
	}
	o := c.outlook
	r.mu.Unlock()
	now := time.Now()
	s := o.step(r.holders(mesh, o.trust, now), force, now)
	r.mu.Lock()
	c.waits = s.waits
	c.restive = s.next != nil || s.forget || len(s.waits) > 0 || o.trust != nil && (o.mesh.Enabled() == nil || o.trust.Stage != policy.StageSettled)
	r.mu.Unlock()
	r.metrics.trust(o, len(s.waits))
	key := policy.Key{Type: policy.TypeTrust, Mesh: mesh, Name: mesh}
	op := store.Op{Expect: store.Absent}
	if o.trust != nil {
		op.Expect = store.AsRead(o.trust)
	}
	switch {
	case s.forget:
		op.Delete = key
	case s.next != nil:
		op.Put = s.next
	default:
		return nil, nil
	}
	err = r.store.Write(ctx, store.Unchanged(o.mesh), op)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		if !force {
			err = nil
		}
		return nil, err
	}
	if err == nil {
		r.tell(mesh, o.trust, s)
	}
	return s.passed, err
}

// tell logs a step that was taken.
func (r *rotations) tell(mesh string, before *policy.Trust, s step) {
	if s.forget {
		r.log.Info("mTLS is off and all certificates have ended: no CA is trusted any more", "mesh", mesh)
		return
	}
	var backends []string
	for _, a := range s.next.Authorities {
		backends = append(backends, a.Backend)
	}
	issuing := ""
	if a := s.next.Authority(s.next.Issuing); a != nil {
		issuing = a.Backend
	}
	attrs := []any{"mesh", mesh, "stage", s.next.Stage, "issuing", issuing, "trusted", backends}
	if before != nil && before.Stage != s.next.Stage {
		attrs = append(attrs, "before", before.Stage, "after", time.Since(before.Since).Round(time.Millisecond))
	}
	if len(s.passed) > 0 {
		attrs = append(attrs, "forced past", policy.NameBlockers(s.passed))
	}
	r.log.Info("trust of the mesh", attrs...)
}

// holders are the proxies of a mesh, sorted by name. A certificate of a CA that is not trusted is nothing to wait for.
func (r *rotations) holders(mesh string, t *policy.Trust, now time.Time) []holder {
	living, withdrawn := r.ledger.Living(mesh, now)
	for name, certificates := range living {
		certificates = slices.DeleteFunc(certificates, func(c policy.IssuedCertificate) bool { return t.Authority(c.Authority) == nil })
		if living[name] = certificates; len(certificates) == 0 {
			delete(living, name)
		}
	}
	uses := r.heard(mesh, living)
	names := map[string]bool{}
	for name := range living {
		names[name] = true
	}
	for name := range uses {
		names[name] = true
	}
	var all []holder
	if t != nil {
		for _, why := range r.silence(t.Version) {
			all = append(all, holder{unknown: why})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h := uses[name]
		if !h.connected && h.use.Since.Before(r.started) {
			h.use.Since = r.started
		}
		all = append(all, holder{
			name: name, living: living[name], withdrawn: withdrawn, use: h.use, connected: h.connected, fault: h.fault,
		})
	}
	return all
}

// Force passes the stage that a mesh is in, and returns those that it waited for.
func (r *rotations) Force(ctx context.Context, mesh string) (passed []policy.Blocker, err error) {
	return passed, store.Again(func() (err error) {
		passed, err = r.advance(ctx, mesh, true)
		return err
	})
}

// Overview is where the trust of a mesh stands, for people.
func (r *rotations) Overview(mesh string) policy.TrustOverview {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := policy.TrustOverview{Mesh: mesh, Authorities: []policy.AuthorityOverview{}, WaitsFor: []policy.Blocker{}}
	c := r.meshes[mesh]
	if c == nil {
		return v
	}
	if b := c.outlook.mesh.Enabled(); b != nil {
		v.Enabled = b.Name
	}
	if c.outlook.fault != nil {
		v.Fault = c.outlook.fault.Error()
	}
	v.WaitsFor = append(v.WaitsFor, c.waits...)
	t := c.outlook.trust
	if t == nil {
		return v
	}
	v.Stage, v.Since, v.From = t.Stage, t.Since, t.From
	for _, a := range t.Authorities {
		issuing := a.Fingerprint == t.Issuing
		if issuing {
			v.Issuing = a.Backend
		}
		v.Authorities = append(v.Authorities, policy.AuthorityOverview{
			Backend: a.Backend, Fingerprint: a.Fingerprint, Issuing: issuing, Since: a.Since, NotAfter: c.ends[a.Fingerprint],
		})
	}
	return v
}

// endsOf is when the first root of each authority ends, by fingerprint.
func endsOf(t *policy.Trust) map[string]time.Time {
	ends := map[string]time.Time{}
	if t == nil {
		return ends
	}
	for _, a := range t.Authorities {
		roots, err := certs.ParseChain([]byte(a.Roots))
		if err != nil {
			continue
		}
		for _, root := range roots {
			if last := ends[a.Fingerprint]; last.IsZero() || root.NotAfter.Before(last) {
				ends[a.Fingerprint] = root.NotAfter.UTC()
			}
		}
	}
	return ends
}
