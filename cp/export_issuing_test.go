package cp

import (
	"koguma/authority"
	"koguma/policy"
	"koguma/xds"
)

// Offer tells a session what its proxy should have, by certificates of that authority; nil is that mTLS is off.
func Offer(s xds.Session, v *xds.View, a authority.Authority, b *policy.Backend, services ...string) {
	d := &policy.Dataplane{Meta: policy.Meta{Mesh: v.Mesh}}
	for _, service := range services {
		in := policy.Inbound{Tags: map[string]string{policy.TagService: service}}
		d.Networking.Inbound = append(d.Networking.Inbound, in)
	}
	OfferFor(s, v, a, b, d)
}

// OfferFor is [Offer] with a Dataplane.
func OfferFor(s xds.Session, v *xds.View, a authority.Authority, b *policy.Backend, d *policy.Dataplane) {
	var auth *trust
	if a != nil {
		auth = &trust{backend: b, Authority: a, roots: a.Roots()}
	}
	s.(*session).offer(v, auth, d)
}

// Briefly is briefly.
const Briefly = briefly
