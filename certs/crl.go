package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrNoCRL says that a CA may not sign revocation lists: its certificate's key usage lacks cRLSign, and whoever checks
// such a list by the standard refuses it.
var ErrNoCRL = errors.New("the CA's certificate does not allow it to sign revocation lists (its key usage lacks cRLSign)")

// Revoked is a certificate on a revocation list.
type Revoked struct {
	Serial *big.Int
	At     time.Time
}

// RevocationList is a CRL of the CA in PEM (RFC 5280, section 5): the revoked certificates, as of at, with a number that
// grows from one list to the next. It holds until the CA ends, for whoever checks it may not be reached with another. The
// same input gives the same bytes.
func (ca *CA) RevocationList(revoked []Revoked, number uint64, at time.Time) ([]byte, error) {
	if ca.cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return nil, ErrNoCRL
	}
	list := &x509.RevocationList{
		Number:     new(big.Int).SetUint64(number),
		ThisUpdate: at.Add(-Backdate),
		NextUpdate: ca.cert.NotAfter,
	}
	for _, r := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.At})
	}
	// Without a source of randomness signatures are deterministic (RFC 6979 for EC), so control planes of one store make
	// the same list.
	der, err := x509.CreateRevocationList(nil, list, ca.cert, ca.key)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}
