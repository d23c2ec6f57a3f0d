package cp

import (
	"crypto/x509"
	"time"

	"koguma/cp/api"
	"koguma/policy"
	"koguma/xds"
)

// presented is the secrets that a proxy has: those that it was sent last, and those that it has taken. They are read when
// somebody asks.
type presented struct{ offered, taken *xds.Set }

// present notes what the proxy was sent of its secrets, and what it has taken.
func (s *session) present(e xds.Event) {
	if e.Type != xds.TypeSecret || s.snapshot == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.presented
	switch {
	case e.Kind == xds.Sent:
		p.offered = s.snapshot.Secrets
	case e.Kind == xds.Acked && p.offered.Version() == e.Version:
		p.taken = p.offered
	case e.Kind == xds.Acked && s.snapshot.Secrets.Version() == e.Version: // it had all of these already
		p.offered, p.taken = s.snapshot.Secrets, s.snapshot.Secrets
	}
}

// identity is who the proxy is, as it is seen from here.
func (s *session) identity(now time.Time) policy.ProxyIdentity {
	s.mu.Lock()
	p, i := s.presented, &s.insight
	id := policy.ProxyIdentity{
		ControlPlane: policy.ControlPlaneLink{
			Connected: true, InstanceID: i.subscription.ControlPlaneInstanceID, Since: i.subscription.ConnectTime,
		},
		Renewal: i.renewal(now),
	}
	if !i.lastError.Time.IsZero() {
		last := i.lastError
		id.LastError = &last
	}
	s.mu.Unlock()
	if c := &s.claims; c.KeyID != "" { // without authentication nobody has one
		id.Token = &policy.IdentityToken{ID: c.ID, KeyID: c.KeyID, ExpiresAt: c.ExpiresAt.UTC()}
	}
	id.Certificates, id.Roots = xds.Describe(s.key.Mesh, p.taken, p.offered)
	return id
}

// Identity is who a proxy is, or was when it was connected last.
func (r *reconciler) Identity(key policy.Key) policy.ProxyIdentity {
	r.mu.Lock()
	s, before := r.sessions[key], r.known[key]
	r.mu.Unlock()
	id := before
	if s != nil {
		if id = s.identity(time.Now()); id.LastError == nil {
			id.LastError = before.LastError
		}
	}
	id.Mesh, id.Proxy, id.Seen = key.Mesh, key.Name, policy.SeenByControlPlane
	if id.Certificates == nil {
		id.Certificates, id.Roots = []policy.IdentityCertificate{}, []policy.TrustedRoot{}
	}
	return id
}

// parted is who a proxy was whose stream has ended.
func parted(id policy.ProxyIdentity) policy.ProxyIdentity {
	id.ControlPlane.Connected, id.ControlPlane.Until = false, time.Now().UTC()
	return id
}

// renewal is what became of the certificate of the first service.
func (i *insight) renewal(now time.Time) policy.Renewal {
	var r policy.Renewal
	if i.mtls == nil {
		return r
	}
	r.Last, r.Result, r.Overdue = i.mtls.LastCertificateRegeneration, policy.RenewalOK, overdue(i.leaf, now)
	if i.faults[faultIdentity] != "" {
		r.Result = policy.RenewalFailed
	}
	return r
}

// overduePoint is the share of its life at which a certificate should have had a successor: a tenth after the latest time
// at which it is asked for.
const overduePoint = renewalPoint*(1+renewalSpread) + 0.1

func overdue(leaf *x509.Certificate, now time.Time) bool {
	if leaf == nil {
		return false
	}
	begin := sinceMade(leaf)
	return now.After(begin.Add(time.Duration(overduePoint * float64(leaf.NotAfter.Sub(begin)))))
}

// Tokens implements [api.Bearers].
func (r *reconciler) Tokens(mesh string) []api.TokenInUse {
	r.mu.Lock()
	var all []api.TokenInUse
	for key, s := range r.sessions {
		if key.Mesh == mesh && s.claims.KeyID != "" { // without authentication nobody has one
			all = append(all, api.TokenInUse{Proxy: key, Claims: s.claims})
		}
	}
	r.mu.Unlock()
	v, now := r.keys.verifier(), time.Now()
	for i := range all {
		all[i].Err = v.Judge(all[i].Claims, now)
	}
	return all
}
