package explain

import (
	"crypto/x509"
	"time"

	"koguma/policy"
	"koguma/xds"
)

// CertificateCause is why a proxy cannot show a certificate at that time, "" if it can; nil is that it has none.
func CertificateCause(chain []*x509.Certificate, now time.Time) string {
	t := &trial{explanation: &explanation{Explainer: &Explainer{Now: now}}}
	s := &side{Dataplane: &policy.Dataplane{Meta: policy.Meta{Mesh: "default", Name: "web-1"}}}
	var id *xds.Identity
	if chain != nil {
		id = &xds.Identity{Chain: chain}
	}
	if c := t.has(s, "web", id); c != nil {
		return c.Code
	}
	return ""
}
