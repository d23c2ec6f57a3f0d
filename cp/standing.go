package cp

import (
	"crypto/x509"
	"encoding/pem"
	"slices"

	"koguma/policy"
	"koguma/xds"
)

// standing is how a proxy stands: what it has said that it has, and what it lacks.
type standing struct {
	connected bool
	ending    ending // of its last session, if it is not connected

	listeners, clusters, endpoints *xds.View // that what it has follows from; nil if it has none
	secrets                        *xds.Set
	lacks                          []policy.Pending
	fault                          string // why it has no certificate, as far as that is on this side
	token                          string // the id of that by which it is, or was, connected
}

// standing is how the proxy of the session stands.
func (s *session) standing() standing {
	return standing{
		connected: true,
		listeners: s.taken.of(xds.TypeListener).view,
		clusters:  s.taken.of(xds.TypeCluster).view,
		endpoints: s.taken.of(xds.TypeEndpoint).view,
		secrets:   s.taken.of(xds.TypeSecret).set,
		lacks:     s.pending(0),
		fault:     s.fault(faultIdentity),
		token:     s.claims.ID,
	}
}

// standing is how the proxy of a Dataplane stands, or did when it was connected last.
func (r *reconciler) standing(key policy.Key) standing {
	r.mu.Lock()
	s, e := r.sessions[key], r.endings[key]
	r.mu.Unlock()
	if s != nil {
		return s.standing()
	}
	st := standing{}
	if e.standing != nil {
		st = *e.standing
	}
	st.connected, st.ending = false, e
	return st
}

// revoked reports whether a token is on the list of its mesh.
func (r *reconciler) revoked(mesh, token string) bool { return r.keys.isRevoked(mesh, token) }

// withdrawn reports whether a certificate is not to be accepted any more.
func (r *reconciler) withdrawn(mesh string, leaf *x509.Certificate) bool {
	return r.ledger.IsWithdrawn(mesh, leaf)
}

// side is one side of a connection: a Dataplane, how its proxy stands, and what its Envoy has of secrets.
type side struct {
	*policy.Dataplane
	standing
	identities []xds.Identity
	roots      []*x509.Certificate
	listed     map[string]bool // serial numbers on the revocation lists that it has
}

func newSide(d *policy.Dataplane, st standing) *side {
	s := &side{Dataplane: d, standing: st, listed: map[string]bool{}}
	var trust xds.Trust
	s.identities, trust = xds.ReadSecrets(d.Mesh, st.secrets)
	s.roots = trust.Roots
	for rest := trust.CRL; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return s
		}
		if list, err := x509.ParseRevocationList(block.Bytes); err == nil {
			for _, e := range list.RevokedCertificateEntries {
				s.listed[e.SerialNumber.Text(16)] = true
			}
		}
	}
}

// identity is the certificate of a service that the proxy has, nil if it has none.
func (s *side) identity(service string) *xds.Identity {
	name := xds.IdentitySecretName(s.Mesh, service, service == s.Services()[0])
	i := slices.IndexFunc(s.identities, func(i xds.Identity) bool { return i.Secret == name })
	if i < 0 {
		return nil
	}
	return &s.identities[i]
}

// late says what the proxy lacks, in a few words; "" if nothing is known to be lacking.
func (s *side) late() string {
	if len(s.lacks) == 0 {
		return ""
	}
	p := s.lacks[0]
	for _, o := range s.lacks {
		if o.Refusal != "" { // which explains the others
			p = o
			break
		}
	}
	text := p.Reason
	if p.Type != "" {
		text = p.Type + ": " + text
	}
	if p.Refusal != "" {
		text += ": " + p.Refusal
	}
	return text
}
