package cp

import (
	"crypto/x509"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// insight is what was seen of one session.
type insight struct {
	subscription policy.Subscription
	rejections   map[string]string // by type: the reason of a refusal that still stands
	mtls         *policy.MTLSInsight
	faults       map[string]string    // what is wrong on this side
	lastError    policy.IdentityError // what was wrong last
	leaf         *x509.Certificate    // of the first service; nil if there is none
	plaintext    []policy.InboundMTLS
}

func newInsight(instanceID string, now time.Time) insight {
	return insight{
		subscription: policy.Subscription{ID: token.NewID(), ControlPlaneInstanceID: instanceID, ConnectTime: now.UTC()},
		rejections:   map[string]string{},
		faults:       map[string]string{},
	}
}

// observe counts what happened on the stream.
func (i *insight) observe(e xds.Event) {
	st := &i.subscription.Status
	counts := []*policy.DeliveryStats{&st.Total}
	switch e.Type {
	case xds.TypeCluster:
		counts = append(counts, &st.CDS)
	case xds.TypeEndpoint:
		counts = append(counts, &st.EDS)
	case xds.TypeListener:
		counts = append(counts, &st.LDS)
	case xds.TypeSecret:
		counts = append(counts, &st.SDS)
	}
	for _, c := range counts {
		switch e.Kind {
		case xds.Sent:
			c.ResponsesSent++
		case xds.Acked:
			if !e.Idle {
				c.ResponsesAcknowledged++
			}
		case xds.Nacked:
			c.ResponsesRejected++
		}
	}
	switch e.Kind {
	case xds.Acked:
		delete(i.rejections, e.Type)
	case xds.Nacked:
		i.rejections[e.Type] = e.Reason
		i.wrong(e.Reason)
	}
	st.LastUpdateTime = time.Now().UTC()
}

// wrong notes that something went wrong.
func (i *insight) wrong(reason string) {
	i.lastError = policy.IdentityError{Time: time.Now().UTC(), Reason: reason}
}

// certificate notes the certificate that the proxy has now. made is whether it was made here and now, rather than
// brought along.
func (i *insight) certificate(leaf *x509.Certificate, auth *trust, made bool) {
	i.leaf = leaf
	if leaf == nil || auth == nil {
		i.mtls = nil
		return
	}
	last := policy.MTLSInsight{LastCertificateRegeneration: leaf.NotBefore.UTC()}
	if i.mtls != nil {
		last = *i.mtls
	}
	if made {
		last.CertificateRegenerations++
		last.LastCertificateRegeneration = time.Now().UTC()
	}
	last.CertificateExpirationTime = leaf.NotAfter.UTC()
	last.IssuedBackend = auth.backend.Name
	last.SupportedBackends = []string{auth.backend.Name}
	i.mtls = &last
}

// version notes what the proxy says that it runs.
func (i *insight) version(n *corev3.Node) {
	said := n.GetMetadata().GetFields()["version"].GetStructValue().GetFields()
	part := func(name string) policy.SoftwareVersion {
		f := said[name].GetStructValue().GetFields()
		return policy.SoftwareVersion{Version: f["version"].GetStringValue(), Build: f["build"].GetStringValue()}
	}
	v := &i.subscription.Version
	if dp := part("kumaDp"); dp.Version != "" {
		v.KumaDP = dp
	}
	if envoy := part("envoy"); envoy.Version != "" {
		v.Envoy = envoy
	}
	if b := n.GetUserAgentBuildVersion().GetVersion(); v.Envoy.Version == "" && b != nil {
		v.Envoy.Version = fmt.Sprintf("%d.%d.%d", b.GetMajorNumber(), b.GetMinorNumber(), b.GetPatch())
	}
}

// overview is the insight as it is shown.
func (i *insight) overview() policy.DataplaneInsight {
	s := i.subscription
	for _, fault := range i.faults {
		s.Status.LastRejection = fault
	}
	for _, reason := range i.rejections {
		s.Status.LastRejection = reason
	}
	return policy.DataplaneInsight{Subscriptions: []policy.Subscription{s}, MTLS: i.mtls, Plaintext: i.plaintext}
}
