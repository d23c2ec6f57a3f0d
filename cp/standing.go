package cp

import (
	"crypto/x509"

	"koguma/cp/explain"
	"koguma/policy"
	"koguma/xds"
)

// standing is how the proxy of the session stands.
func (s *session) standing() explain.Standing {
	return explain.Standing{
		Connected: true,
		Listeners: s.taken.of(xds.TypeListener).view,
		Clusters:  s.taken.of(xds.TypeCluster).view,
		Endpoints: s.taken.of(xds.TypeEndpoint).view,
		Secrets:   s.taken.of(xds.TypeSecret).set,
		Lacks:     s.pending(0),
		Fault:     s.fault(faultIdentity),
		Token:     s.claims.ID,
	}
}

// Standing is how the proxy of a Dataplane stands, or did when it was connected last.
func (r *reconciler) Standing(key policy.Key) explain.Standing {
	r.mu.Lock()
	s, e := r.sessions[key], r.endings[key]
	r.mu.Unlock()
	if s != nil {
		return s.standing()
	}
	st := explain.Standing{}
	if e.Standing != nil {
		st = *e.Standing
	}
	st.Connected, st.Ending = false, e
	return st
}

// Revoked reports whether a token is on the list of its mesh.
func (r *reconciler) Revoked(mesh, token string) bool { return r.keys.isRevoked(mesh, token) }

// Withdrawn reports whether a certificate is not to be accepted any more.
func (r *reconciler) Withdrawn(mesh string, leaf *x509.Certificate) bool {
	return r.ledger.IsWithdrawn(mesh, leaf)
}
