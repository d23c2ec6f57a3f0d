package policy

import "time"

// Trust is which authorities a mesh trusts, in order, and which of them signs. The control plane keeps it: it follows
// the Mesh in stages, each of which waits for proof that the proxies have taken the one before. A mesh has one while
// mTLS is on, and after that as long as certificates live.
type Trust struct {
	Meta
	Authorities []TrustedAuthority `json:"authorities"`
	// Issuing is the fingerprint of the authority that signs. It may be gone from Authorities, by force.
	Issuing string     `json:"issuing"`
	Stage   TrustStage `json:"stage"`
	// Since is when the stage began.
	Since time.Time `json:"since"`
	// From is the backend that signed before the rotation began, "" while there is none.
	From string `json:"from,omitempty"`
}

// TrustedAuthority is an authority whose roots are trusted, also when its backend has gone.
type TrustedAuthority struct {
	Backend     string    `json:"backend"`
	Fingerprint string    `json:"fingerprint"`
	Roots       string    `json:"roots"` // PEM
	Since       time.Time `json:"since"`
}

// TrustStage is how far the rotation of a mesh's authority has come.
type TrustStage string

// The stages, in order.
const (
	StageSettled   TrustStage = "settled"    // there is nothing to do
	StageTrustBoth TrustStage = "trust-both" // the new authority is trusted beside the old one, which still signs
	StageIssue     TrustStage = "issue"      // the new one signs; the old one is trusted while certificates of it live
	StageDrop      TrustStage = "drop"       // only the new one is trusted, and not everybody has taken that yet
)

// Authority is the trusted authority with that fingerprint, nil if there is none.
func (t *Trust) Authority(fingerprint string) *TrustedAuthority {
	if t == nil {
		return nil
	}
	for i := range t.Authorities {
		if t.Authorities[i].Fingerprint == fingerprint {
			return &t.Authorities[i]
		}
	}
	return nil
}

// Fingerprints are those of the trusted authorities, in order.
func (t *Trust) Fingerprints() []string {
	var list []string
	for i := range t.Authorities {
		list = append(list, t.Authorities[i].Fingerprint)
	}
	return list
}

// Validate implements [Resource].
func (t *Trust) Validate() error {
	var bad problems
	bad.checkMeta(&t.Meta, TypeTrust)
	return bad.err()
}

// Blocker is a proxy that a stage waits for.
type Blocker struct {
	Proxy string `json:"proxy,omitempty"` // "" where it is no proxy
	Why   string `json:"why"`
	// Until is when waiting ends by itself, because the proxy's certificate does; zero where it does not.
	Until time.Time `json:"until,omitzero"`
}

// TrustOverview is the trust of a mesh as the API shows it.
type TrustOverview struct {
	Mesh string `json:"mesh"`
	// Enabled is the backend that the Mesh says, "" while mTLS is off.
	Enabled string     `json:"enabled,omitempty"`
	Stage   TrustStage `json:"stage,omitempty"` // "" where there is no trust
	Since   time.Time  `json:"since,omitzero"`
	From    string     `json:"from,omitempty"`
	// Issuing is the backend that signs.
	Issuing     string              `json:"issuing,omitempty"`
	Authorities []AuthorityOverview `json:"authorities"`
	WaitsFor    []Blocker           `json:"waitsFor"`
	// Fault is why the backend that the Mesh says cannot be used.
	Fault string `json:"fault,omitempty"`
}

// AuthorityOverview is a trusted authority as the API shows it.
type AuthorityOverview struct {
	Backend     string    `json:"backend"`
	Fingerprint string    `json:"fingerprint"`
	Issuing     bool      `json:"issuing"`
	Since       time.Time `json:"since"`
	// NotAfter is when the first of its roots ends.
	NotAfter time.Time `json:"notAfter"`
}

// Rotate is what POST /meshes/{mesh}/trust/rotate is asked to do.
type Rotate struct {
	// To is the backend to go to. With Force it is the one that is being gone to.
	To string `json:"to,omitempty"`
	// Abort goes back to the backend that the rotation began from.
	Abort bool `json:"abort,omitempty"`
	// Force passes the current stage without those that it waits for.
	Force bool `json:"force,omitempty"`
}
