package explain

import (
	"crypto/x509"
	"encoding/pem"
	"slices"

	"koguma/policy"
	"koguma/xds"
)

// side is one side of a connection: a Dataplane, how its proxy stands, and what its Envoy has of secrets.
type side struct {
	*policy.Dataplane
	Standing
	identities []xds.Identity
	roots      []*x509.Certificate
	listed     map[string]bool // serial numbers on the revocation lists that it has
}

func newSide(d *policy.Dataplane, st Standing) *side {
	s := &side{Dataplane: d, Standing: st, listed: map[string]bool{}}
	var trust xds.Trust
	s.identities, trust = xds.ReadSecrets(d.Mesh, st.Secrets)
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
	if len(s.Lacks) == 0 {
		return ""
	}
	p := s.Lacks[0]
	for _, o := range s.Lacks {
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
