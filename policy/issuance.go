package policy

import "time"

// What the control plane writes down for itself. Nobody else reads or writes it.

// Issuance is certificates that were made at the same time, written down before they were handed out: whoever revokes a
// token later knows which certificates it has brought. It goes when the last of them has ended.
type Issuance struct {
	Meta
	Certificates []IssuedCertificate `json:"certificates"`
}

// IssuedCertificate is a certificate that somebody got. What is written later of the same serial number holds in the
// place of what was written before.
type IssuedCertificate struct {
	Serial  string `json:"serial"` // hexadecimal
	Service string `json:"service"`
	TokenID string `json:"tokenId"` // that it was got for; "" where proxies need none
	// Proxy is the Dataplane whose proxy has it; "" when that has said that it leaves.
	Proxy string `json:"proxy,omitempty"`
	// Authority is the fingerprint of the roots of the one that signed it.
	Authority string    `json:"authority,omitempty"`
	NotAfter  time.Time `json:"notAfter"`
}

// Withdrawals is what was taken back in a mesh before its end.
type Withdrawals struct {
	Meta
	// Certificates are on the mesh's revocation list. Those that have ended may be left out.
	Certificates []WithdrawnCertificate `json:"certificates"`
	// Rounds counts, for each service, how often certificates of it were taken back. It only grows.
	Rounds map[string]int `json:"rounds"`
}

// WithdrawnCertificate is a certificate that is not to be accepted any more.
type WithdrawnCertificate struct {
	Serial    string    `json:"serial"`              // hexadecimal
	Authority string    `json:"authority,omitempty"` // on whose list it is; "" for on all
	NotAfter  time.Time `json:"notAfter"`
	Withdrawn time.Time `json:"withdrawn"`
}

// Validate implements [Resource].
func (i *Issuance) Validate() error {
	var bad problems
	bad.checkMeta(&i.Meta, TypeIssuance)
	return bad.err()
}

// Validate implements [Resource].
func (w *Withdrawals) Validate() error {
	var bad problems
	bad.checkMeta(&w.Meta, TypeWithdrawals)
	return bad.err()
}
