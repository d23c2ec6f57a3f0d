// Package explain says what would happen to a connection, and why.
//
// An [Explainer] tries it in thought, by what both proxies have said that they have: each check is one at which a real
// connection would fail, in that order. What the store says that they should have is only looked up for what is to come.
package explain

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"koguma/certs"
	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/xds"
)

// Explainer says what would happen to connections in a mesh, and why: by what both proxies have said that they have, and by
// what the store says that they should have.
type Explainer struct {
	Mesh        *policy.Mesh
	Permissions policy.Permissions
	Dataplanes  []*policy.Dataplane // of all meshes
	Now         time.Time
	// Meet is who knows of the proxies of these Dataplanes of the mesh, and what is not known, for people.
	Meet func(proxies []string) (_ Confidant, unknown []string)
}

// explanation is the answer to one question.
type explanation struct {
	*Explainer
	Confidant
	inMesh   []*policy.Dataplane
	remedies map[string]string // by service and inbound: as a cause has it
}

// trial is one connection that is tried in thought.
type trial struct {
	*explanation
	from, to *side
	in       *policy.Inbound // of to
	peer     policy.Peer     // that from is
	warnings []policy.Cause

	listener *xds.Inbound  // as to has it
	dialled  *xds.Outbound // as from has it; nil if it has none that leads here
	tls      bool          // both speak it
}

// pair says what would happen to a connection from one proxy to an inbound of another.
func (x *explanation) pair(from, to *side, in *policy.Inbound) policy.ConnectionPair {
	t := &trial{explanation: x, from: from, to: to, in: in, peer: from.Peer(from.Services()[0])}
	p := policy.ConnectionPair{From: from.Name, As: t.peer.Service, To: to.Name, Service: in.Service(), Port: in.Port}
	// In the order in which the connection would fail.
	for _, check := range []func() *policy.Cause{t.membership, t.presence, t.arrival, t.mode, t.handshake, t.permission} {
		if c := check(); c != nil {
			p.Cause = *c
			break
		}
	}
	switch p.Cause.Code {
	case policy.CauseMTLSOff, policy.CausePermissive, policy.CausePermitted:
		p.Allowed = true
	}
	p.Warnings = slices.DeleteFunc(t.warnings, func(w policy.Cause) bool { return w.Code == p.Cause.Code })
	return p
}

func (t *trial) warn(c *policy.Cause) { t.warnings = append(t.warnings, *c) }

// because is a cause with what to do.
func because(code, next, why string, args ...any) *policy.Cause {
	return &policy.Cause{Code: code, Why: fmt.Sprintf(why, args...), Next: next}
}

// membership is whether both may be in the mesh. Who may not has no certificate, and nobody is sent there.
func (t *trial) membership() *policy.Cause {
	err := t.Mesh.Admit(t.to.Dataplane)
	if err == nil && t.Mesh.Enabled() != nil {
		err = t.Mesh.Admit(t.from.Dataplane)
	}
	if err == nil {
		return nil
	}
	return because(policy.CauseMembership, "see kumactl get mesh "+t.Mesh.Name+" -o yaml", "%v", err)
}

// presence is whether the proxies are there, and the inbound is to get traffic.
func (t *trial) presence() *policy.Cause {
	if !t.in.Ready() {
		return because(policy.CauseNotReady, "have the Dataplane say that it is ready",
			"the inbound of %s at port %d is not ready, so nobody is sent to it", t.to.Name, t.in.Port)
	}
	if !t.to.Connected {
		return t.gone(t.to)
	}
	switch {
	case t.from.Connected:
	case t.from.Ending.Out:
		t.warn(t.gone(t.from)) // its Envoy goes on with what it has
	default:
		return t.gone(t.from)
	}
	return nil
}

// gone says why a proxy is not connected.
func (t *trial) gone(s *side) *policy.Cause {
	switch {
	case !s.Ending.Out:
		return because(policy.CauseNotConnected, "see whether its kuma-dp runs, and what it logs", "%s is not connected: %s", s.Name, s.Ending)
	case t.Revoked(s.Mesh, s.Token):
		return because(policy.CauseTokenRevoked, nextToken(s), "the token of %s is revoked: %s", s.Name, s.Ending)
	}
	return because(policy.CauseSessionEnded, "do what the reason says; kuma-dp logs it as well", "%s was put out: %s", s.Name, s.Ending)
}

// nextToken is the command for another token.
func nextToken(s *side) string {
	return fmt.Sprintf("give it another: kumactl generate dataplane-token --mesh %s --name %s --tag %s=%s --valid-for 720h",
		s.Mesh, s.Name, policy.TagService, s.Services()[0])
}

// unacked says that a proxy has not said that it has something, and with what words it refused it.
func (t *trial) unacked(s *side, what string) *policy.Cause {
	why := fmt.Sprintf("%s %s", s.Name, what)
	if late := s.late(); late != "" {
		why += ": " + late
	}
	return because(policy.CauseNotAcked, "wait for it, or see kumactl inspect dataplanes --mesh "+t.Mesh.Name, "%s", why)
}

// arrival is whether the connection finds its way: the destination listens, and the source was told where.
func (t *trial) arrival() *policy.Cause {
	if t.listener = inboundOf(t.to.Listeners, t.to.Dataplane, t.in); t.listener == nil {
		return t.unacked(t.to, "has not taken its inbound yet, so nobody is sent to it")
	}
	i := slices.IndexFunc(t.from.Networking.Outbound, func(o policy.Outbound) bool { return policy.Subset(o.Tags, t.in.Tags) })
	if i < 0 {
		t.warn(because(policy.CauseNoOutbound, "add an outbound to its Dataplane",
			"%s has no outbound that leads to %s at %s", t.from.Name, t.in.Service(), t.to.Name))
		return nil
	}
	out := &t.from.Networking.Outbound[i]
	if outboundOf(t.from.Listeners, out) == nil {
		return t.unacked(t.from, "has not taken its outbound to "+t.in.Service()+" yet")
	}
	t.dialled = outboundOf(t.from.Clusters, out)
	told := outboundOf(t.from.Endpoints, out)
	if t.dialled == nil || told == nil {
		return t.unacked(t.from, "has not taken where "+t.in.Service()+" is")
	}
	if slices.Contains(told.Endpoints.Addresses, t.to.Reach(t.in)) {
		return nil
	}
	if len(t.to.Lacks) > 0 {
		return t.unacked(t.to, "has not taken all that it should have, so nobody is sent to it")
	}
	return t.unacked(t.from, "has not been told yet that "+t.to.Name+" is there")
}

// inboundOf is what a proxy has of an inbound, nil if it has not.
func inboundOf(v *xds.View, d *policy.Dataplane, in *policy.Inbound) *xds.Inbound {
	if v == nil {
		return nil
	}
	i := slices.IndexFunc(v.Inbounds, func(x xds.Inbound) bool { return x.Listen == d.Listen(in) && x.Service == in.Service() })
	if i < 0 {
		return nil
	}
	return &v.Inbounds[i]
}

// outboundOf is what a proxy has of an outbound, nil if it has not.
func outboundOf(v *xds.View, out *policy.Outbound) *xds.Outbound {
	if v == nil {
		return nil
	}
	i := slices.IndexFunc(v.Outbounds, func(o xds.Outbound) bool {
		return o.Listen == out.Listen() && o.Endpoints.Cluster == xds.ClusterName(out.Tags)
	})
	if i < 0 {
		return nil
	}
	return &v.Outbounds[i]
}

// mode is whether both speak the same: TLS, or plaintext.
func (t *trial) mode() *policy.Cause {
	dials := t.Mesh.Enabled() != nil
	if t.dialled != nil {
		dials = t.from.Clusters.MTLS && !t.dialled.Plain
	}
	takes := t.to.Listeners.MTLS
	switch {
	case dials && takes:
		t.tls = true
		return nil
	case dials && t.Mesh.Enabled() != nil:
		return t.unacked(t.to, "has not taken yet that mTLS is on, and "+t.from.Name+" speaks it")
	case dials:
		return t.unacked(t.from, "has not taken yet that mTLS is off, and "+t.to.Name+" speaks none")
	case !takes && t.Mesh.Enabled() == nil:
		return because(policy.CauseMTLSOff, "", "mTLS is off in mesh %s: everybody gets in, in plaintext", t.Mesh.Name)
	case !takes:
		t.warn(t.unacked(t.to, "has not taken yet that mTLS is on"))
		return because(policy.CauseMTLSOff, "", "neither %s nor %s has taken yet that mTLS is on: everybody gets in, in plaintext", t.from.Name, t.to.Name)
	case t.to.Listeners.Mode == policy.ModePermissive:
		return because(policy.CausePermissive, "", "%s takes plaintext as well, and %s still dials it so", t.to.Name, t.from.Name)
	}
	return t.unacked(t.from, "still dials in plaintext, and "+t.to.Name+" takes mTLS only")
}

// handshake is whether each takes the certificate of the other.
func (t *trial) handshake() *policy.Cause {
	show, want := t.from.identity(t.peer.Service), t.to.identity(t.in.Service())
	for _, c := range []*policy.Cause{
		t.has(t.from, t.peer.Service, show), t.has(t.to, t.in.Service(), want),
	} {
		if c != nil {
			return c
		}
	}
	if c := t.accepts(t.to, t.from, t.peer.Service, show.Chain); c != nil {
		return c
	}
	return t.accepts(t.from, t.to, t.in.Service(), want.Chain)
}

// has is whether a proxy has a certificate that is good now.
func (t *trial) has(s *side, service string, id *xds.Identity) *policy.Cause {
	see := "see kumactl inspect identity " + s.Name + " --mesh " + s.Mesh
	switch {
	case id == nil && s.Fault != "":
		return because(policy.CauseNoCertificate, see, "%s has no certificate for %s: %s", s.Name, service, s.Fault)
	case id == nil && s.late() != "":
		return because(policy.CauseNoCertificate, see, "%s has no certificate for %s yet: %s", s.Name, service, s.late())
	case id == nil:
		return because(policy.CauseNoCertificate, see, "%s has no certificate for %s", s.Name, service)
	case t.Now.Before(id.Chain[0].NotBefore):
		return because(policy.CauseNotYetValid, "compare the clocks", "the certificate of %s for %s is not valid before %s",
			s.Name, service, policy.Moment(id.Chain[0].NotBefore))
	case t.Now.After(id.Chain[0].NotAfter):
		why := fmt.Sprintf("the certificate of %s for %s has ended at %s", s.Name, service, policy.Moment(id.Chain[0].NotAfter))
		switch {
		case s.Fault != "":
			why += ", and there is no other: " + s.Fault
		case !s.Connected:
			why += ", and it gets no other: " + s.Ending.String()
		}
		return because(policy.CauseExpired, see, "%s", why)
	}
	return nil
}

// accepts is whether a proxy takes the certificate that another shows.
func (t *trial) accepts(s, shows *side, service string, chain []*x509.Certificate) *policy.Cause {
	if t.Withdrawn(t.Mesh.Name, chain[0]) || s.listed[ledger.Serial(chain[0])] {
		c := because(policy.CauseWithdrawn, "see kumactl inspect identity "+shows.Name+" --mesh "+shows.Mesh,
			"the certificate of %s for %s was withdrawn", shows.Name, service)
		if t.Revoked(t.Mesh.Name, shows.Token) {
			c = because(policy.CauseTokenRevoked, nextToken(shows), "the token of %s is revoked, and its certificates with it", shows.Name)
		}
		if s.listed[ledger.Serial(chain[0])] {
			return c
		}
		t.warn(c)
		t.warn(t.unacked(s, "has no revocation list with it yet"))
	}
	id, err := certs.WorkloadID(t.Mesh.Name, service)
	if err == nil {
		err = certs.Check(chain, s.roots, id, t.Now)
	}
	if err == nil {
		return nil
	}
	why := fmt.Sprintf("%s does not trust the certificate of %s for %s: %v", s.Name, shows.Name, service, err)
	if late := s.late(); late != "" {
		why += "; " + s.Name + " lacks " + late
	}
	return because(policy.CauseUnknownCA, "see kumactl inspect mesh "+t.Mesh.Name, "%s", why)
}

// permission is whether the destination lets the source in, by the permissions that it has taken.
func (t *trial) permission() *policy.Cause {
	ruling := policy.Rule(t.Mesh, t.Permissions, t.peer, t.to.Dataplane, t.in)
	admits := slices.ContainsFunc(t.listener.Sources, func(s policy.Source) bool { return s.Admits(t.peer) })
	cause := ruling.Explain(t.peer, t.in.Tags)
	switch {
	case ruling.Allowed && admits && t.named(ruling):
		return &cause
	case ruling.Allowed && admits:
		return t.unacked(t.from, "has no certificate with its tags yet")
	case ruling.Allowed:
		return t.unacked(t.to, "has not taken yet that it lets "+t.peer.Service+" in")
	}
	cause.Next = "if it is meant to, apply the permission"
	if cause.Permission = t.remedy(); cause.Permission == "" {
		cause.Next = "no single permission would let in just this, or too many would have to be shown: ask for one proxy and port"
	}
	if !admits {
		return &cause
	}
	t.warn(&cause)
	t.warn(t.unacked(t.to, "has not taken yet that it does not let "+t.peer.Service+" in any more"))
	return because(policy.CausePermitted, "", "%s lets it in still, by what it was told before", t.to.Name)
}

// named reports whether the source's certificate has what the ruling asks of its tags.
func (t *trial) named(r policy.Ruling) bool {
	if !r.ByTags() {
		return true
	}
	named := t.from.identity(t.peer.Service).Chain[0].DNSNames
	return slices.Equal(slices.Sorted(slices.Values(named)), xds.TagNames(t.peer))
}

// remedy is the permission that would let the source in and nobody else, "" if there is none.
func (t *trial) remedy() string {
	key := fmt.Sprintf("%s %v %p", t.peer.Service, t.in.Tags, t.Permissions.Merge(t.to.Dataplane, t.in))
	if text, ok := t.remedies[key]; ok || len(t.remedies) == mostRemedies {
		return text
	}
	text := ""
	p, alone := policy.Suggest(t.Mesh, t.Permissions, t.inMesh, t.peer.Service, t.to.Dataplane, t.in)
	if alone {
		if yaml, err := policy.EncodeYAML(p); err == nil {
			text = string(yaml)
		}
	}
	t.remedies[key] = text
	return text
}
