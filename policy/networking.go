package policy

import (
	"errors"
	"fmt"
	"net/netip"
)

// Validate implements [Resource].
func (d *Dataplane) Validate() error {
	var bad problems
	bad.checkMeta(&d.Meta, TypeDataplane)
	n := &d.Networking
	if n.Address == "" {
		bad.add("networking.address", "must be given: %s", fillAddress)
	} else {
		bad.check("networking.address", validAddress(n.Address))
	}
	bad.checkAddress("networking.advertisedAddress", n.AdvertisedAddress)
	for i := range n.Inbound {
		bad.checkInbound(fmt.Sprintf("networking.inbound[%d]", i), &n.Inbound[i])
	}
	for i := range n.Outbound {
		bad.checkOutbound(fmt.Sprintf("networking.outbound[%d]", i), &n.Outbound[i])
	}
	switch {
	case n.Gateway != nil && len(n.Inbound) > 0:
		bad.add("networking.gateway", "a gateway has no inbounds: leave out one of the two")
	case n.Gateway != nil:
		if t := n.Gateway.Type; t != "" && t != GatewayDelegated {
			bad.add("networking.gateway.type", "must be %s; no other is supported here", GatewayDelegated)
		}
		bad.checkTags("networking.gateway.tags", n.Gateway.Tags)
	case len(n.Inbound) == 0:
		bad.add("networking.inbound", "must have at least one element, or else networking.gateway must be there")
	}
	if n.Admin != nil && n.Admin.Port != 0 {
		bad.check("networking.admin.port", validPort(n.Admin.Port))
	}
	bad.checkListeners(d)
	bad.checkPeers(d)
	return bad.err()
}

func (p *problems) checkInbound(at string, in *Inbound) {
	p.check(at+".port", validPort(in.Port))
	if in.ServicePort != 0 {
		p.check(at+".servicePort", validPort(in.ServicePort))
	}
	p.checkAddress(at+".address", in.Address)
	p.checkAddress(at+".serviceAddress", in.ServiceAddress)
	p.checkTags(at+".tags", in.Tags)
	switch in.State {
	case "", StateReady, StateNotReady, StateIgnored:
	default:
		p.add(at+".state", "must be one of %s, %s, %s", StateReady, StateNotReady, StateIgnored)
	}
}

func (p *problems) checkOutbound(at string, out *Outbound) {
	p.check(at+".port", validPort(out.Port))
	p.checkAddress(at+".address", out.Address)
	p.checkTags(at+".tags", out.Tags)
}

// checkListeners finds two listeners that want one address and port, and an inbound that would send to itself.
func (p *problems) checkListeners(d *Dataplane) {
	n := &d.Networking
	at := map[netip.AddrPort]string{}
	claim := func(field string, port int, a netip.AddrPort) {
		if !a.IsValid() || validPort(port) != nil {
			return // said already
		}
		if other, taken := at[a]; taken {
			p.add(field+".port", "%v is taken by %s", a, other)
			return
		}
		at[a] = field
		if n.Admin != nil && n.Admin.Port == int(a.Port()) {
			p.add(field+".port", "%d is networking.admin.port too", n.Admin.Port)
		}
	}
	for i := range n.Inbound {
		in, field := &n.Inbound[i], fmt.Sprintf("networking.inbound[%d]", i)
		claim(field, in.Port, d.Listen(in))
		if l := d.Listen(in); l.IsValid() && l == d.Workload(in) {
			p.add(field+".servicePort", "the proxy would send to itself: give the port of the service on %v, other than %d", l.Addr(), l.Port())
		}
	}
	for i := range n.Outbound {
		out := &n.Outbound[i]
		claim(fmt.Sprintf("networking.outbound[%d]", i), out.Port, out.Listen())
	}
}

// checkAddress checks an address that may be left out.
func (p *problems) checkAddress(field, address string) {
	if address != "" {
		p.check(field, validAddress(address))
	}
}

const fillAddress = "write {{ address }} and give it at the start: kuma-dp run --dataplane-var address=IP"

// validAddress checks the address of one host.
func validAddress(s string) error {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return fmt.Errorf("%s is no IP address, and names are not looked up; to fill one in, %s", quote(s), fillAddress)
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone, which means nothing to other hosts", quote(s))
	case a.Is4In6():
		return fmt.Errorf("write %s as %v", quote(s), a.Unmap())
	case a.IsUnspecified():
		return fmt.Errorf("%s is every address of a host: it must be one; to fill it in, %s", quote(s), fillAddress)
	case a.IsMulticast():
		return fmt.Errorf("%s is a multicast address", quote(s))
	}
	return nil
}

func validPort(port int) error {
	if port < 1 || port > 65535 {
		return errors.New("must be between 1 and 65535")
	}
	return nil
}
