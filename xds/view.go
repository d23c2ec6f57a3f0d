package xds

import (
	"fmt"
	"net/netip"
	"slices"

	"koguma/policy"
)

// View is all that the configuration of one proxy depends on.
type View struct {
	Mesh      string
	Service   string // who the proxy is towards others
	Names     string // that its certificate has besides, as one text; "" if there are none
	Inbounds  []Inbound
	Outbounds []Outbound
	// MTLS is whether traffic in the mesh is encrypted and permissions hold.
	MTLS bool
	// Mode is what an operator has said of plaintext at the inbounds: policy.ModeStrict, policy.ModePermissive or [ModeOff].
	// It says nothing where MTLS is false; "" is policy.ModeStrict.
	Mode string
	// MeshCreated and MeshChanged are for the notes, see [Note].
	MeshCreated, MeshChanged int64
	// Notes is whether there is an agent: then listeners carry a [Note] each, for it to read and to take off, and it is
	// told what Envoy denies.
	Notes bool
	// Roots are the certificates that identities of the mesh are verified with, in PEM.
	Roots string
	// Withdrawn is what was taken back before its end; nil if nothing was.
	Withdrawn *Withdrawn
}

// Withdrawn is what was taken back in a mesh before its end. It is not changed once made: more is another value.
type Withdrawn struct {
	// CRL is the list of certificates that are not accepted any more, in PEM; "" if there is none.
	CRL string
	// Rounds counts, for each service, how often something of it was taken back. Connections from it and to it that are
	// older than the last round are closed.
	Rounds map[string]int
}

// crl is the revocation list, "" if there is none.
func (w *Withdrawn) crl() string {
	if w == nil {
		return ""
	}
	return w.CRL
}

// round is how often something of the service was taken back, of any service for "".
func (w *Withdrawn) round(service string) int {
	if w == nil {
		return 0
	}
	if service != "" {
		return w.Rounds[service]
	}
	n := 0
	for _, r := range w.Rounds {
		n += r
	}
	return n
}

// Inbound is a port at which the proxy takes traffic for the workload.
type Inbound struct {
	Listen, Workload netip.AddrPort
	Service          string
	Protocol         policy.Protocol
	// Sources are whom the inbound lets in, as [policy.TrafficPermission.Admitted] has them.
	Sources []policy.Source
	// Doubted are those among Sources who are let in, and of whom the agent is told as if they were not.
	Doubted []policy.Source
	// Callers are the services with a filter chain of their own, sorted: all that Sources name and, where those are of
	// any service, all that are known to dial this one.
	Callers []string
	// Note is what the agent is told of this inbound.
	Note Note
}

// Outbound is a local port through which the workload reaches a service.
type Outbound struct {
	Listen    netip.AddrPort
	Service   string
	Protocol  policy.Protocol
	Endpoints *Endpoints
	// Plain is whether the service is dialled in plaintext although the mesh has mTLS: not all of its proxies take that yet.
	Plain bool
}

// Endpoints are where a cluster's instances are. They are not changed once made: other endpoints are another value.
type Endpoints struct {
	Cluster   string
	Addresses []netip.AddrPort // sorted
}

// rounds is what the filter chains for these services, and the default one, depend on.
func (w *Withdrawn) rounds(services []string) string {
	if w == nil {
		return ""
	}
	n := []int{w.round("")}
	for _, s := range services {
		n = append(n, w.round(s))
	}
	return fmt.Sprint(n)
}

// Equal reports whether two views give the same configuration. Endpoints and Withdrawn are compared by
// identity.
func (v *View) Equal(o *View) bool {
	return v.Mesh == o.Mesh && v.Service == o.Service && v.Names == o.Names && v.MTLS == o.MTLS && v.Mode == o.Mode &&
		v.MeshCreated == o.MeshCreated && v.MeshChanged == o.MeshChanged && v.Notes == o.Notes && v.Roots == o.Roots && v.Withdrawn == o.Withdrawn &&
		slices.Equal(v.Outbounds, o.Outbounds) && slices.EqualFunc(v.Inbounds, o.Inbounds, Inbound.equal)
}

func (i Inbound) equal(o Inbound) bool {
	return i.Listen == o.Listen && i.Workload == o.Workload && i.Service == o.Service && i.Protocol == o.Protocol &&
		i.Note == o.Note && slices.Equal(i.Callers, o.Callers) && slices.EqualFunc(i.Sources, o.Sources, policy.Source.Equal) &&
		slices.EqualFunc(i.Doubted, o.Doubted, policy.Source.Equal)
}
