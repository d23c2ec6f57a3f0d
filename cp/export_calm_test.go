package cp

import (
	"time"

	"koguma/authority"
	"koguma/policy"
	"koguma/xds"
)

// OfferOver is [Offer] of an authority that replaces the certificates of another one over that time.
func OfferOver(s xds.Session, v *xds.View, a authority.Authority, b *policy.Backend, spread time.Duration, service string) {
	in := policy.Inbound{Tags: map[string]string{policy.TagService: service}}
	d := &policy.Dataplane{Meta: policy.Meta{Mesh: v.Mesh}, Networking: policy.Networking{Inbound: []policy.Inbound{in}}}
	s.(*session).offer(v, &trust{backend: b, Authority: a, roots: a.Roots(), spread: spread}, d)
}
