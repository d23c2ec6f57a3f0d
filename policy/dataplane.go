package policy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// The tags that mean something to the mesh itself.
const (
	TagService  = "kuma.io/service"
	TagProtocol = "kuma.io/protocol"
	TagZone     = "kuma.io/zone"
	TagInstance = "kuma.io/instance"
)

// Protocol is what an inbound speaks. Anything that is not HTTP is carried as TCP.
type Protocol string

// The protocols. An inbound that names none is TCP.
const (
	ProtocolTCP   Protocol = "tcp"
	ProtocolHTTP  Protocol = "http"
	ProtocolHTTP2 Protocol = "http2"
	ProtocolGRPC  Protocol = "grpc"
	ProtocolKafka Protocol = "kafka"
)

// protocols lists the protocols.
func protocols() []Protocol {
	return []Protocol{ProtocolTCP, ProtocolHTTP, ProtocolHTTP2, ProtocolGRPC, ProtocolKafka}
}

// Dataplane is one proxy and the workload beside it.
type Dataplane struct {
	Meta
	Networking Networking `json:"networking"`
}

// Networking is where a proxy listens and what it reaches.
type Networking struct {
	// Address is the IP address at which other proxies reach this one, unless AdvertisedAddress says otherwise.
	Address           string     `json:"address"`
	AdvertisedAddress string     `json:"advertisedAddress,omitempty"`
	Inbound           []Inbound  `json:"inbound,omitempty"`
	Outbound          []Outbound `json:"outbound,omitempty"`
	// Gateway stands in the place of Inbound: a proxy that takes in no traffic of the mesh, but sends some.
	Gateway *Gateway `json:"gateway,omitempty"`
	Admin   *Admin   `json:"admin,omitempty"`
}

// Inbound is a port at which the proxy takes traffic for the workload.
type Inbound struct {
	Port           int               `json:"port"`
	ServicePort    int               `json:"servicePort,omitempty"`    // 0 is Port
	ServiceAddress string            `json:"serviceAddress,omitempty"` // "" is the loopback address of Address's family
	Address        string            `json:"address,omitempty"`        // "" is Networking.Address
	Tags           map[string]string `json:"tags"`
	Health         *Health           `json:"health,omitempty"`
	State          string            `json:"state,omitempty"` // "" is StateReady
}

// The states of an inbound. Only one that is ready gets traffic.
const (
	StateReady    = "Ready"
	StateNotReady = "NotReady"
	StateIgnored  = "Ignored"
)

// Health is the older way to say that an inbound is not ready.
type Health struct {
	Ready bool `json:"ready"`
}

// Outbound is a local port through which the workload reaches a service.
type Outbound struct {
	Address string            `json:"address,omitempty"` // "" is 127.0.0.1
	Port    int               `json:"port"`
	Tags    map[string]string `json:"tags"`
}

// Gateway says who a proxy without inbounds is.
type Gateway struct {
	Type string            `json:"type,omitempty"` // "" is GatewayDelegated
	Tags map[string]string `json:"tags"`
}

// GatewayDelegated is the one type of gateway: some other proxy that sends into the mesh through this one.
const GatewayDelegated = "DELEGATED"

// Admin says where Envoy's admin interface is. Only the port that Kuma's files name is accepted, and it opens nothing:
// the agent talks to Envoy over a socket that only it can read.
type Admin struct {
	Port int `json:"port,omitempty"`
}

// Service is the service that the inbound stands for.
func (i *Inbound) Service() string { return i.Tags[TagService] }

// Protocol is what the inbound speaks.
func (i *Inbound) Protocol() Protocol {
	return Protocol(cmp.Or(i.Tags[TagProtocol], string(ProtocolTCP)))
}

// Ready reports whether the inbound should get traffic.
func (i *Inbound) Ready() bool {
	return (i.State == "" || i.State == StateReady) && (i.Health == nil || i.Health.Ready)
}

// Listen is where Envoy listens for the inbound.
func (d *Dataplane) Listen(i *Inbound) netip.AddrPort {
	a, _ := netip.ParseAddr(cmp.Or(i.Address, d.Networking.Address))
	return netip.AddrPortFrom(a, uint16(i.Port))
}

// Reach is where other proxies reach the inbound.
func (d *Dataplane) Reach(i *Inbound) netip.AddrPort {
	a, _ := netip.ParseAddr(cmp.Or(d.Networking.AdvertisedAddress, i.Address, d.Networking.Address))
	return netip.AddrPortFrom(a, uint16(i.Port))
}

// Workload is where the workload behind the inbound listens.
func (d *Dataplane) Workload(i *Inbound) netip.AddrPort {
	a, err := netip.ParseAddr(i.ServiceAddress)
	if err != nil {
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if d.Listen(i).Addr().Is6() {
			a = netip.IPv6Loopback()
		}
	}
	return netip.AddrPortFrom(a, uint16(cmp.Or(i.ServicePort, i.Port)))
}

// Listen is where Envoy listens for the outbound.
func (o *Outbound) Listen() netip.AddrPort {
	a, err := netip.ParseAddr(o.Address)
	if err != nil {
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(a, uint16(o.Port))
}

// Service is the service that the outbound leads to.
func (o *Outbound) Service() string { return o.Tags[TagService] }

// Services are the services that the proxy stands for, each once. The first is the one that it is towards others.
func (d *Dataplane) Services() []string {
	var s []string
	for _, tags := range d.TagSets() {
		if name := tags[TagService]; !slices.Contains(s, name) {
			s = append(s, name)
		}
	}
	return s
}

// TagSets are the tags of each inbound, or those of the gateway.
func (d *Dataplane) TagSets() []map[string]string {
	if d.Networking.Gateway != nil {
		return []map[string]string{d.Networking.Gateway.Tags}
	}
	sets := make([]map[string]string, len(d.Networking.Inbound))
	for i := range d.Networking.Inbound {
		sets[i] = d.Networking.Inbound[i].Tags
	}
	return sets
}

// Tags are the values that the proxy has for each tag over all its inbounds, sorted.
func (d *Dataplane) Tags() map[string][]string {
	all := map[string][]string{}
	for _, set := range d.TagSets() {
		for k, v := range set {
			if !slices.Contains(all[k], v) {
				all[k] = append(all[k], v)
			}
		}
	}
	for k := range maps.Keys(all) {
		slices.Sort(all[k])
	}
	return all
}
