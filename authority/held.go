package authority

import (
	"crypto/x509"

	"koguma/certs"
)

// held is a CA whose key this process holds.
type held struct{ *certs.CA }

// Roots implements [Authority].
func (h held) Roots() []*x509.Certificate { return []*x509.Certificate{h.Root()} }
