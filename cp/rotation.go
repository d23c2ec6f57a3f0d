package cp

import (
	"slices"
	"time"

	"koguma/policy"
	"koguma/xds"
)

// The trust of a mesh follows its Mesh in stages: the new authority is trusted beside the old one; when everybody has
// ACKed that, it signs; when no certificate of the old one is in use, that is dropped; and when everybody has ACKed this
// too, there is nothing more to do. What comes next is decided each time from what there is, and nothing is remembered
// but the Trust itself: so a restart, a change of mind in the middle and a Mesh that is edited by hand are no cases of
// their own.

// outlook is what the next step of a mesh is decided upon. It is not changed once made.
type outlook struct {
	mesh   *policy.Mesh
	trust  *policy.Trust // nil if nothing is trusted yet
	target *candidate    // nil where mTLS is off, or for a fault
	fault  error         // why the backend that the Mesh says cannot be opened
}

// candidate is the authority of the backend that the Mesh says.
type candidate struct {
	policy.TrustedAuthority
	// unlisted is until when certificates live that it would make good again: they are on a list, and it cannot sign one.
	unlisted time.Time
	cause    error // why it cannot
}

// outlook is how the mesh stands; it must exist.
func (m *meshIndex) outlook(now time.Time) *outlook {
	o := &outlook{mesh: m.mesh, trust: m.trust}
	target, err := m.target()
	if err != nil || target == nil {
		o.fault = err
		return o
	}
	o.target = &candidate{TrustedAuthority: policy.TrustedAuthority{
		Backend: target.backend.Name, Fingerprint: target.fingerprint, Roots: encodeRoots(target.roots), Since: now.UTC(),
	}}
	if m.trust != nil && m.trust.Authority(target.fingerprint) == nil {
		o.target.unlisted, o.target.cause = m.unlisted(target, now)
	}
	return o
}

// step is what is to be done next.
type step struct {
	next   *policy.Trust    // what to trust from now on; nil: what is trusted now
	forget bool             // nothing is trusted any more
	passed []policy.Blocker // those that were not waited for, by force
	waits  []policy.Blocker // those that are waited for
}

// step is the next one. By force it does not wait.
func (o *outlook) step(all []holder, force bool, now time.Time) step {
	t, target := o.trust, o.target
	switch {
	case o.mesh.Enabled() == nil:
		return step{forget: t != nil && !slices.ContainsFunc(all, holder.lives)}
	case target == nil:
		return step{waits: []policy.Blocker{{Why: o.fault.Error()}}}
	case t == nil:
		return step{next: &policy.Trust{
			Meta:        policy.Meta{Type: policy.TypeTrust, Mesh: o.mesh.Name, Name: o.mesh.Name},
			Authorities: []policy.TrustedAuthority{target.TrustedAuthority}, Issuing: target.Fingerprint,
			Stage: policy.StageSettled, Since: now.UTC(),
		}}
	}
	known, signs := t.Authority(target.Fingerprint), t.Authority(t.Issuing)
	switch {
	case known == nil:
		return o.add(force, now)
	case known.Backend != target.Backend:
		return step{next: o.next(t.Stage, now, func(n *policy.Trust) { n.Authority(known.Fingerprint).Backend = target.Backend })}
	case signs == nil:
		return step{next: o.next(policy.StageIssue, now, func(n *policy.Trust) { n.Issuing = target.Fingerprint })}
	case signs != known:
		waits := blockers(all, func(h *holder) *policy.Blocker { return h.distrusts(t, known, now) })
		if len(waits) == 0 {
			waits = handshakes(all, func(s *secretState) time.Time { return s.RootsAt }, now)
		}
		return o.pass(policy.StageTrustBoth, waits, force, now, func() *policy.Trust {
			return o.next(policy.StageIssue, now, func(n *policy.Trust) { n.Issuing = target.Fingerprint })
		})
	case len(t.Authorities) > 1:
		return o.drop(all, force, now)
	case t.Stage != policy.StageSettled:
		waits := blockers(all, func(h *holder) *policy.Blocker { return h.lags(t, now) })
		return o.pass(policy.StageDrop, waits, force, now, func() *policy.Trust {
			return o.next(policy.StageSettled, now, func(n *policy.Trust) { n.From = "" })
		})
	}
	return step{}
}

// add has the target trusted too.
func (o *outlook) add(force bool, now time.Time) step {
	var waits []policy.Blocker
	if until := o.target.unlisted; now.Before(until) {
		waits = []policy.Blocker{{Until: until.UTC(), Why: "backend " + o.target.Backend + " cannot sign a revocation list (" +
			o.target.cause.Error() + "), so certificates that were withdrawn would be good again; the last of them ends " + policy.Moment(until)}}
	}
	return o.pass(o.trust.Stage, waits, force, now, func() *policy.Trust {
		signs := o.trust.Authority(o.trust.Issuing)
		stage := policy.StageTrustBoth
		if signs == nil {
			stage = policy.StageIssue
		}
		return o.next(stage, now, func(n *policy.Trust) {
			n.Authorities = append(n.Authorities, o.target.TrustedAuthority)
			switch {
			case signs == nil:
				n.Issuing = o.target.Fingerprint
			case n.From == "" || o.trust.Stage == policy.StageDrop:
				n.From = signs.Backend
			}
		})
	})
}

// drop takes away the authorities but the one that signs, each when no certificate of it is in use.
func (o *outlook) drop(all []holder, force bool, now time.Time) step {
	var waits []policy.Blocker
	n := o.next(policy.StageIssue, now, func(n *policy.Trust) {
		n.Authorities = slices.DeleteFunc(n.Authorities, func(a policy.TrustedAuthority) bool {
			if a.Fingerprint == n.Issuing {
				return false
			}
			users := blockers(all, func(h *holder) *policy.Blocker { return h.uses(o.trust, &a, now) })
			if len(users) == 0 {
				users = handshakes(all, func(s *secretState) time.Time { return s.LeavesAt }, now)
			}
			waits = append(waits, users...)
			return len(users) == 0 || force
		})
	})
	if len(n.Authorities) == 1 {
		n.Stage, n.Since = policy.StageDrop, now.UTC()
	}
	if len(n.Authorities) == len(o.trust.Authorities) && n.Stage == o.trust.Stage {
		return step{waits: waits}
	}
	if force {
		return step{next: n, passed: waits}
	}
	return step{next: n, waits: waits}
}

// handshakes waits for those TLS handshakes that were begun by what a proxy had before its last ACK: Envoy ACKs before all of
// its threads, and the connections that they are making, have gone over to what is new.
func handshakes(all []holder, changed func(*secretState) time.Time, now time.Time) []policy.Blocker {
	var last time.Time
	for i := range all {
		for j := range all[i].use.States {
			if at := changed(&all[i].use.States[j]); at.After(last) {
				last = at
			}
		}
	}
	until := last.Add(xds.ConnectTimeout + restRotation)
	if !now.Before(until) {
		return nil
	}
	return []policy.Blocker{{Why: "TLS handshakes that were begun before the last ACK", Until: until.UTC()}}
}

// pass leaves the stage if nothing is waited for, or by force; else it stays in it, or enters it.
func (o *outlook) pass(stage policy.TrustStage, waits []policy.Blocker, force bool, now time.Time, next func() *policy.Trust) step {
	switch {
	case len(waits) == 0 || force:
		return step{next: next(), passed: waits}
	case o.trust.Stage != stage:
		return step{next: o.next(stage, now, func(*policy.Trust) {}), waits: waits}
	}
	return step{waits: waits}
}

// next is the trust with a change, in that stage.
func (o *outlook) next(stage policy.TrustStage, now time.Time, change func(*policy.Trust)) *policy.Trust {
	n := *o.trust
	n.Authorities = slices.Clone(n.Authorities)
	if n.Stage != stage {
		n.Stage, n.Since = stage, now.UTC()
	}
	change(&n)
	return &n
}
