package xds

import (
	"net/netip"
	"slices"

	"koguma/policy"
)

// View is all that the configuration of one proxy depends on.
type View struct {
	Mesh      string
	Service   string // who the proxy is towards others
	Inbounds  []Inbound
	Outbounds []Outbound
	// MTLS is whether traffic in the mesh is encrypted and permissions hold.
	MTLS bool
	// Roots are the certificates that identities of the mesh are verified with, in PEM.
	Roots string
}

// Inbound is a port at which the proxy takes traffic for the workload.
type Inbound struct {
	Listen, Workload netip.AddrPort
	Service          string
	Protocol         policy.Protocol
	// Sources are the services that are let in, sorted.
	Sources []string
	// Any is whether every service of the mesh is let in. Sources are then those that are known to dial this one.
	Any bool
}

// Outbound is a local port through which the workload reaches a service.
type Outbound struct {
	Listen    netip.AddrPort
	Service   string
	Protocol  policy.Protocol
	Endpoints *Endpoints
}

// Endpoints are where a cluster's instances are. They are not changed once made: other endpoints are another value.
type Endpoints struct {
	Cluster   string
	Addresses []netip.AddrPort // sorted
}

// Equal reports whether two views give the same configuration. Endpoints are compared by identity.
func (v *View) Equal(o *View) bool {
	return v.Mesh == o.Mesh && v.Service == o.Service && v.MTLS == o.MTLS && v.Roots == o.Roots &&
		slices.Equal(v.Outbounds, o.Outbounds) && slices.EqualFunc(v.Inbounds, o.Inbounds, Inbound.equal)
}

func (i Inbound) equal(o Inbound) bool {
	return i.Listen == o.Listen && i.Workload == o.Workload && i.Service == o.Service && i.Protocol == o.Protocol &&
		i.Any == o.Any && slices.Equal(i.Sources, o.Sources)
}
