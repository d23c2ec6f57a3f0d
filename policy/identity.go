package policy

import "time"

// ProxyIdentity is who a proxy is, until when, and by whom, as `GET /meshes/{mesh}/dataplanes/{name}/_identity` and the
// agent's `GET /identity` answer it. There is neither a token nor a key in it.
type ProxyIdentity struct {
	Mesh  string `json:"mesh"`
	Proxy string `json:"proxy"` // the name of its Dataplane
	Seen  string `json:"seen"`  // from where: SeenByControlPlane or SeenByAgent

	ControlPlane ControlPlaneLink      `json:"controlPlane"`
	Certificates []IdentityCertificate `json:"certificates"`
	Roots        []TrustedRoot         `json:"roots"`
	Token        *IdentityToken        `json:"token,omitempty"` // nil: the proxy is connected without one
	Renewal      Renewal               `json:"renewal"`
	LastError    *IdentityError        `json:"lastError,omitempty"`
}

// Who saw what is told of a proxy.
const (
	SeenByControlPlane = "control-plane"
	SeenByAgent        = "agent"
)

// ControlPlaneLink is the connection of a proxy to its control plane.
type ControlPlaneLink struct {
	Connected  bool      `json:"connected"`
	InstanceID string    `json:"instanceId,omitempty"` // known to the control plane
	Address    string    `json:"address,omitempty"`    // known to the agent: host and port
	Since      time.Time `json:"since,omitzero"`       // when it was connected last
	Until      time.Time `json:"until,omitzero"`       // when that ended. What the control plane tells is from before
}

// IdentityCertificate is the certificate of one service that a proxy stands for. A service has two while a new one is
// on its way.
type IdentityCertificate struct {
	Service   string    `json:"service"`
	SPIFFEID  string    `json:"spiffeId"`
	DNSNames  []string  `json:"dnsNames,omitempty"`
	Serial    string    `json:"serial"` // hexadecimal, as openssl x509 -serial prints it
	Issuer    Issuer    `json:"issuer"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	KeyOrigin string    `json:"keyOrigin"` // KeyOfAgent or KeyOfControlPlane
	// Acked is whether Envoy has taken it, so that handshakes show it. One that is not is still on its way, or refused.
	Acked bool `json:"acked"`
}

// Where a private key was made.
const (
	KeyOfAgent        = "agent"         // it never left the proxy
	KeyOfControlPlane = "control-plane" // for an Envoy without an agent
)

// Issuer is who signed a certificate.
type Issuer struct {
	Subject     string `json:"subject"`
	Fingerprint string `json:"fingerprint,omitempty"` // SHA-256 of its certificate, if that is known
}

// TrustedRoot is a certificate by which a proxy knows its peers.
type TrustedRoot struct {
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint"` // SHA-256
	NotAfter    time.Time `json:"notAfter"`
	Acked       bool      `json:"acked"` // Envoy has taken it
}

// IdentityToken is the token by which a proxy is connected. ID and KeyID are for administrators, and empty for others.
type IdentityToken struct {
	ID        string    `json:"jti,omitempty"`
	KeyID     string    `json:"kid,omitempty"`
	ExpiresAt time.Time `json:"exp"`
}

// Renewal is when certificates were made, and are to be made.
type Renewal struct {
	Last   time.Time `json:"last,omitzero"`    // when the newest came
	Result string    `json:"result,omitempty"` // what has become of the last attempt: RenewalOK or RenewalFailed
	Next   time.Time `json:"next,omitzero"`    // when the first is due; only the agent knows, which asks for it
	// Overdue is whether a certificate should have had a successor by now.
	Overdue bool `json:"overdue"`
}

// The results of a renewal.
const (
	RenewalOK     = "ok"
	RenewalFailed = "failed"
)

// IdentityError is something that went wrong, whether or not it still does.
type IdentityError struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}
