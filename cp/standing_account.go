package cp

import (
	"net/netip"
	"time"

	"koguma/cp/explain"
	"koguma/policy"
	"koguma/xds"
)

// standingAccount is an [explain.Standing] as one control plane tells another. Of the views it has what [explain.Explainer]
// looks at.
type standingAccount struct {
	Connected bool             `json:"connected,omitempty"`
	Ending    endingAccount    `json:"ending"`
	Listeners *viewAccount     `json:"listeners,omitempty"`
	Clusters  *viewAccount     `json:"clusters,omitempty"`
	Endpoints *viewAccount     `json:"endpoints,omitempty"`
	Secrets   []secretAccount  `json:"secrets,omitempty"`
	Lacks     []policy.Pending `json:"lacks,omitempty"`
	Fault     string           `json:"fault,omitempty"`
	Token     string           `json:"token,omitempty"` // its id
}

type endingAccount struct {
	At     time.Time `json:"at,omitzero"`
	Left   bool      `json:"left,omitempty"`
	Out    bool      `json:"out,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

type viewAccount struct {
	MTLS      bool              `json:"mtls,omitempty"`
	Mode      string            `json:"mode,omitempty"`
	Inbounds  []inboundAccount  `json:"inbounds,omitempty"`
	Outbounds []outboundAccount `json:"outbounds,omitempty"`
}

type inboundAccount struct {
	Listen  netip.AddrPort  `json:"listen"`
	Service string          `json:"service"`
	Sources []policy.Source `json:"sources,omitempty"`
}

type outboundAccount struct {
	Listen    netip.AddrPort   `json:"listen"`
	Cluster   string           `json:"cluster"`
	Plain     bool             `json:"plain,omitempty"`
	Addresses []netip.AddrPort `json:"addresses,omitempty"`
}

// secretAccount is a secret as Envoy has it, without private keys.
type secretAccount struct {
	Name string `json:"name"`
	Body []byte `json:"body"`
}

func newStandingAccount(s explain.Standing) *standingAccount {
	a := &standingAccount{
		Connected: s.Connected, Ending: endingAccount{s.Ending.At, s.Ending.Left, s.Ending.Out, s.Ending.Reason},
		Listeners: newViewAccount(s.Listeners), Clusters: newViewAccount(s.Clusters), Endpoints: newViewAccount(s.Endpoints),
		Lacks: s.Lacks, Fault: s.Fault, Token: s.Token,
	}
	for _, r := range xds.WithoutKeys(s.Secrets).All() {
		a.Secrets = append(a.Secrets, secretAccount{r.Name, r.Body})
	}
	return a
}

func newViewAccount(v *xds.View) *viewAccount {
	if v == nil {
		return nil
	}
	a := &viewAccount{MTLS: v.MTLS, Mode: v.Mode}
	for _, in := range v.Inbounds {
		a.Inbounds = append(a.Inbounds, inboundAccount{in.Listen, in.Service, in.Sources})
	}
	for _, out := range v.Outbounds {
		a.Outbounds = append(a.Outbounds, outboundAccount{out.Listen, out.Endpoints.Cluster, out.Plain, out.Endpoints.Addresses})
	}
	return a
}

func (a *standingAccount) standing() explain.Standing {
	s := explain.Standing{
		Connected: a.Connected, Ending: explain.Ending{At: a.Ending.At, Left: a.Ending.Left, Out: a.Ending.Out, Reason: a.Ending.Reason},
		Listeners: a.Listeners.view(), Clusters: a.Clusters.view(), Endpoints: a.Endpoints.view(),
		Lacks: a.Lacks, Fault: a.Fault, Token: a.Token,
	}
	var secrets []*xds.Resource
	for _, r := range a.Secrets {
		secrets = append(secrets, xds.NewResource(r.Name, r.Body))
	}
	s.Secrets = xds.NewSet(secrets...)
	return s
}

func (a *viewAccount) view() *xds.View {
	if a == nil {
		return nil
	}
	v := &xds.View{MTLS: a.MTLS, Mode: a.Mode}
	for _, in := range a.Inbounds {
		v.Inbounds = append(v.Inbounds, xds.Inbound{Listen: in.Listen, Service: in.Service, Sources: in.Sources})
	}
	for _, out := range a.Outbounds {
		v.Outbounds = append(v.Outbounds, xds.Outbound{
			Listen: out.Listen, Plain: out.Plain, Endpoints: &xds.Endpoints{Cluster: out.Cluster, Addresses: out.Addresses},
		})
	}
	return v
}
