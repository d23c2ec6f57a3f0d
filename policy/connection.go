package policy

// Connection is whether one service or proxy reaches another, and why, as `GET /meshes/{mesh}/connections` answers it. It
// says what would happen to a connection that is opened now.
type Connection struct {
	Mesh    string  `json:"mesh"`
	From    Party   `json:"from"`
	To      Party   `json:"to"`
	Verdict Verdict `json:"verdict"`
	// Cause is why it is denied as a whole; nil where the pairs say.
	Cause *Cause           `json:"cause,omitempty"`
	Pairs []ConnectionPair `json:"pairs"` // each of the one with each inbound of the other; those that are denied first
	// More is how many pairs are not listed.
	More  int      `json:"more,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// Party is one side of a connection as it was asked for.
type Party struct {
	Kind string `json:"kind"` // PartyService or PartyProxy; "" where there is neither
	Name string `json:"name"`
}

// The kinds of parties.
const (
	PartyService = "service"
	PartyProxy   = "proxy"
)

// String is the party in the words of the command line.
func (p Party) String() string {
	if p.Kind == "" {
		return p.Name
	}
	return p.Kind + ":" + p.Name
}

// ConnectionPair is whether one proxy gets in at one inbound of another.
type ConnectionPair struct {
	From    string `json:"from"`    // a Dataplane
	As      string `json:"as"`      // the service that it dials as
	To      string `json:"to"`      // a Dataplane
	Service string `json:"service"` // of the inbound
	Port    int    `json:"port"`
	Allowed bool   `json:"allowed"`
	Cause   Cause  `json:"cause"`
	// Warnings are what does not deny the connection, or will deny it soon.
	Warnings []Cause `json:"warnings,omitempty"`
}

// Cause is why a connection is allowed or denied.
type Cause struct {
	Code string `json:"code"`
	Why  string `json:"why"`            // one sentence
	Next string `json:"next,omitempty"` // what to do
	// Permission is the resource that would allow it, as YAML for kumactl apply, "" if none would.
	Permission string `json:"permission,omitempty"`
}

// Why a connection is allowed.
const (
	CauseMTLSOff    = "mtls-off"   // in plaintext
	CausePermissive = "permissive" // in plaintext, which the destination takes as well
	CausePermitted  = "permitted"
)

// Why a connection is denied, in the order in which it would fail.
const (
	CauseNoSuchService   = "no-such-service"
	CauseNoSuchProxy     = "no-such-proxy"
	CauseNoSuchPort      = "no-such-port"
	CauseWrongMesh       = "wrong-mesh"
	CauseMembership      = "membership"
	CauseNotReady        = "not-ready"
	CauseNotConnected    = "not-connected"
	CauseSessionEnded    = "session-ended"
	CauseNotAcked        = "not-acked"
	CauseNoCertificate   = "no-certificate"
	CauseNotYetValid     = "certificate-not-yet-valid"
	CauseExpired         = "certificate-expired"
	CauseTokenRevoked    = "token-revoked"
	CauseWithdrawn       = "certificate-withdrawn"
	CauseUnknownCA       = "unknown-ca"
	CauseNoPermission    = "no-permission"
	CauseTagsMissing     = "tags-missing"
	CauseNotAmongSources = "not-among-sources"
	CauseDenied          = "denied-by-permission"
)

// What is only ever a warning.
const (
	CauseNoOutbound = "no-outbound"
	CauseDialsAs    = "dials-as"
)

// Causes lists all codes of denials and warnings, in the order in which a connection would fail.
func Causes() []string {
	return []string{
		CauseNoSuchService, CauseNoSuchProxy, CauseNoSuchPort, CauseWrongMesh, CauseMembership, CauseNotReady, CauseNotConnected,
		CauseSessionEnded, CauseNotAcked, CauseNoCertificate, CauseNotYetValid, CauseExpired, CauseTokenRevoked, CauseWithdrawn,
		CauseUnknownCA, CauseNoPermission, CauseTagsMissing, CauseNotAmongSources, CauseDenied, CauseNoOutbound, CauseDialsAs,
	}
}
