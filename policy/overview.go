package policy

import "time"

// DataplaneOverview is a Dataplane and what the control plane saw of it, as `GET
// /meshes/{mesh}/dataplanes/_overview` answers it.
type DataplaneOverview struct {
	Meta
	Dataplane DataplaneSpec    `json:"dataplane"`
	Insight   DataplaneInsight `json:"dataplaneInsight"`
}

// DataplaneSpec is a Dataplane without its metadata.
type DataplaneSpec struct {
	Networking Networking `json:"networking"`
}

// DataplaneInsight is what the control plane saw of one proxy.
type DataplaneInsight struct {
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
	MTLS          *MTLSInsight   `json:"mTLS,omitempty"`
	// Plaintext is who came without mTLS to which listener, as the proxy reported it last; nil if it reported nothing. It
	// is shown elsewhere: see [MeshMTLS].
	Plaintext []InboundMTLS `json:"-"`
}

// Online reports whether the proxy has a stream open now.
func (i *DataplaneInsight) Online() bool {
	for _, s := range i.Subscriptions {
		if !s.ConnectTime.IsZero() && s.DisconnectTime.IsZero() {
			return true
		}
	}
	return false
}

// Subscription is one stream of a proxy, from its opening to its end.
type Subscription struct {
	ID                     string             `json:"id"`
	ControlPlaneInstanceID string             `json:"controlPlaneInstanceId"`
	ConnectTime            time.Time          `json:"connectTime,omitzero"`
	DisconnectTime         time.Time          `json:"disconnectTime,omitzero"`
	Status                 SubscriptionStatus `json:"status"`
	Version                ProxyVersion       `json:"version"`
}

// SubscriptionStatus counts what was sent and what the proxy said to it. LastRejection is the proxy's own reason for
// the newest refusal that no later acceptance of the same kind has settled.
type SubscriptionStatus struct {
	LastUpdateTime time.Time     `json:"lastUpdateTime,omitzero"`
	Total          DeliveryStats `json:"total"`
	CDS            DeliveryStats `json:"cds"`
	EDS            DeliveryStats `json:"eds"`
	LDS            DeliveryStats `json:"lds"`
	RDS            DeliveryStats `json:"rds"`
	SDS            DeliveryStats `json:"sds"`
	LastRejection  string        `json:"lastRejection,omitempty"`
}

// DeliveryStats counts responses. The numbers are strings in JSON, as protobuf writes 64-bit ones.
type DeliveryStats struct {
	ResponsesSent         uint64 `json:"responsesSent,string"`
	ResponsesAcknowledged uint64 `json:"responsesAcknowledged,string"`
	ResponsesRejected     uint64 `json:"responsesRejected,string"`
}

// ProxyVersion is what runs at the other end of a stream, as far as it told.
type ProxyVersion struct {
	KumaDP SoftwareVersion `json:"kumaDp"`
	Envoy  SoftwareVersion `json:"envoy"`
}

// SoftwareVersion is the version of a program.
type SoftwareVersion struct {
	Version string `json:"version,omitempty"`
	Build   string `json:"build,omitempty"`
}

// MTLSInsight is the certificate that a proxy has from this control plane.
type MTLSInsight struct {
	CertificateExpirationTime   time.Time `json:"certificateExpirationTime"`
	LastCertificateRegeneration time.Time `json:"lastCertificateRegeneration"`
	CertificateRegenerations    int       `json:"certificateRegenerations"`
	IssuedBackend               string    `json:"issuedBackend"`
	SupportedBackends           []string  `json:"supportedBackends"`
}
