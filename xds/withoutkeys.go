package xds

import (
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// WithoutKeys is what of a set of secrets is not secret: certificates without their keys, and whom a proxy trusts. Everything
// else is left out.
func WithoutKeys(set *Set) *Set {
	var all []*Resource
	for _, r := range set.All() {
		var s tlsv3.Secret
		if proto.Unmarshal(r.Body, &s) != nil {
			continue
		}
		switch {
		case s.GetTlsCertificate() != nil:
			all = append(all, TLSSecret(r.Name, s.GetTlsCertificate().GetCertificateChain().GetInlineBytes(), nil))
		case s.GetValidationContext() != nil:
			all = append(all, r)
		}
	}
	return NewSet(all...)
}
