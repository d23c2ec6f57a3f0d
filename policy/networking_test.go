package policy_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func TestDataplaneValidate(t *testing.T) {
	t.Parallel()
	type dataplane = *policy.Dataplane
	inbound := func(f func(*policy.Inbound)) func(dataplane) {
		return func(d dataplane) { f(&d.Networking.Inbound[0]) }
	}
	outbound := func(f func(*policy.Outbound)) func(dataplane) {
		return func(d dataplane) { f(&d.Networking.Outbound[0]) }
	}
	port := func(p int) func(dataplane) { return inbound(func(i *policy.Inbound) { i.Port = p }) }
	tag := func(k, v string) func(dataplane) { return inbound(func(i *policy.Inbound) { i.Tags[k] = v }) }
	address := func(a string) func(dataplane) { return func(d dataplane) { d.Networking.Address = a } }
	run(t, web, []change[dataplane]{
		{"no mesh", func(d dataplane) { d.Mesh = "" }, "mesh: must not be empty"},
		{"bad mesh", func(d dataplane) { d.Mesh = "a/b" }, "mesh: lower case"},
		{"bad name", func(d dataplane) { d.Name = "../x" }, "name: lower case"},

		{"no address", address(""), "networking.address: --dataplane-var address=IP"},
		{"host name", address("web.example.com"), "networking.address: names are not looked up; to fill one in, write {{ address }}"},
		{"half an address", address("1.2.3"), "networking.address: no IP address"},
		{"every address", address("0.0.0.0"), "networking.address: every address of a host"},
		{"every IPv6 address", address("::"), "networking.address: every address of a host"},
		{"zone", address("fe80::1%eth0"), "networking.address: has a zone"},
		{"mapped", address("::ffff:10.0.0.1"), "networking.address: as 10.0.0.1"},
		{"multicast", address("224.0.0.1"), "networking.address: multicast"},
		{"address and port", address("10.0.0.1:80"), "networking.address: no IP address"},
		{"loopback", address("127.0.0.1"), ""},
		{"IPv6", address("2001:db8::2"), ""},
		{"advertised name", func(d dataplane) { d.Networking.AdvertisedAddress = "x" }, "networking.advertisedAddress: no IP"},
		{"inbound every address", inbound(func(i *policy.Inbound) { i.Address = "::" }), "networking.inbound[0].address: every address"},
		{"service name", inbound(func(i *policy.Inbound) { i.ServiceAddress = "localhost" }), "networking.inbound[0].serviceAddress: no IP"},
		{"outbound every address", outbound(func(o *policy.Outbound) { o.Address = "0.0.0.0" }), "networking.outbound[0].address: every"},

		{"port 0", port(0), "networking.inbound[0].port: between 1 and 65535"},
		{"port -1", port(-1), "networking.inbound[0].port: between"},
		{"port 65536", port(65536), "networking.inbound[0].port: between"},
		{"port 65618 is not 82", port(65536 + 82), "networking.inbound[0].port: between"},
		{"port 65535", port(65535), ""},
		{"service port", inbound(func(i *policy.Inbound) { i.ServicePort = 65536 }), "networking.inbound[0].servicePort: between"},
		{"outbound port", outbound(func(o *policy.Outbound) { o.Port = 0 }), "networking.outbound[0].port: between"},
		{"admin port", func(d dataplane) { d.Networking.Admin.Port = -1 }, "networking.admin.port: between"},
		{"no admin port", func(d dataplane) { d.Networking.Admin.Port = 0 }, ""},
		{"same port", port(82), "networking.inbound[2].port: 10.0.0.1:82 is taken by networking.inbound[0]"},
		{"same port elsewhere", port(81), ""},
		{"outbound on an inbound", outbound(func(o *policy.Outbound) { o.Address, o.Port = "10.0.0.1", 80 }),
			"networking.outbound[0].port: 10.0.0.1:80 is taken by networking.inbound[0]"},
		{"outbound on an inbound, written otherwise", outbound(func(o *policy.Outbound) { o.Address, o.Port = "2001:0db8:0::1", 81 }),
			"networking.outbound[0].port: is taken by networking.inbound[1]"},
		{"same outbound", func(d dataplane) { d.Networking.Outbound[1].Address = "127.0.0.1" },
			"networking.outbound[1].port: 127.0.0.1:10001 is taken by networking.outbound[0]"},
		{"inbound on admin port", func(d dataplane) { d.Networking.Admin.Port = 80 }, "networking.inbound[0].port: networking.admin.port too"},
		{"to itself", func(d dataplane) {
			d.Networking.Address, d.Networking.Inbound[0].ServicePort = "127.0.0.1", 0
		}, "networking.inbound[0].servicePort: would send to itself"},
		{"to itself by address", inbound(func(i *policy.Inbound) { i.ServiceAddress, i.ServicePort = "10.0.0.1", 80 }),
			"networking.inbound[0].servicePort: would send to itself"},

		{"no service", inbound(func(i *policy.Inbound) { delete(i.Tags, policy.TagService) }),
			`networking.inbound[0].tags["kuma.io/service"]: must be given`},
		{"no tags", inbound(func(i *policy.Inbound) { i.Tags = nil }), `networking.inbound[0].tags["kuma.io/service"]: must be given`},
		{"empty service", tag(policy.TagService, ""), `networking.inbound[0].tags["kuma.io/service"]: must be given`},
		{"bad service", tag(policy.TagService, "a:b"), `networking.inbound[0].tags["kuma.io/service"]: SPIFFE`},
		{"any service", tag(policy.TagService, "*"), `networking.inbound[0].tags["kuma.io/service"]: SPIFFE`},
		{"bad value", tag("version", "a b"), `networking.inbound[0].tags["version"]: SPIFFE`},
		{"reserved", tag("kuma.io/foo", "x"), `networking.inbound[0].tags["kuma.io/foo"]: reserved`},
		{"zone and instance", func(d dataplane) { tag(policy.TagZone, "default")(d); tag(policy.TagInstance, "i")(d) }, ""},
		{"another zone", tag(policy.TagZone, "other"), `networking.inbound[0].tags["kuma.io/zone"]: one zone`},
		{"protocol", tag(policy.TagProtocol, "udp"), `networking.inbound[0].tags["kuma.io/protocol"]: "udp" is no protocol`},
		{"kafka", tag(policy.TagProtocol, "kafka"), ""},
		{"outbound without service", outbound(func(o *policy.Outbound) { o.Tags = nil }),
			`networking.outbound[0].tags["kuma.io/service"]: must be given`},
		{"outbound by version", outbound(func(o *policy.Outbound) { o.Tags["version"] = "v1" }), ""},
		{"state", inbound(func(i *policy.Inbound) { i.State = "ready" }), "networking.inbound[0].state: one of Ready"},
		{"ignored", inbound(func(i *policy.Inbound) { i.State = policy.StateIgnored }), ""},

		{"no inbound", func(d dataplane) { d.Networking.Inbound = nil }, "networking.inbound: at least one element, or else networking.gateway"},
		{"gateway", func(d dataplane) {
			d.Networking.Inbound, d.Networking.Gateway = nil, &policy.Gateway{Tags: map[string]string{policy.TagService: "edge"}}
		}, ""},
		{"gateway and inbound", func(d dataplane) {
			d.Networking.Gateway = &policy.Gateway{Tags: map[string]string{policy.TagService: "edge"}}
		}, "networking.gateway: has no inbounds"},
		{"gateway without service", func(d dataplane) {
			d.Networking.Inbound, d.Networking.Gateway = nil, &policy.Gateway{Type: policy.GatewayDelegated}
		}, `networking.gateway.tags["kuma.io/service"]: must be given`},
		{"builtin gateway", func(d dataplane) {
			d.Networking.Inbound, d.Networking.Gateway = nil, &policy.Gateway{Type: "BUILTIN", Tags: map[string]string{policy.TagService: "edge"}}
		}, "networking.gateway.type: must be DELEGATED"},
	})
}

// All that is wrong is said at once.
func TestValidateSaysAll(t *testing.T) {
	t.Parallel()
	d := web()
	d.Name, d.Networking.Address, d.Networking.Inbound[0].Port, d.Networking.Outbound[1].Tags = "A", "x", 0, nil
	want := []string{"name", "networking.address", "networking.inbound[0].port", `networking.outbound[1].tags["kuma.io/service"]`}
	if diff := cmp.Diff(want, keys(invalid(t, d))); diff != "" {
		t.Error(diff)
	}
}

// Where the proxy listens, where it is reached, and where its workload is.
func TestDataplaneAddresses(t *testing.T) {
	t.Parallel()
	d := web()
	for i, want := range []struct{ listen, reach, workload string }{
		{"10.0.0.1:80", "192.0.2.1:80", "127.0.0.1:8080"},
		{"[2001:db8::1]:81", "192.0.2.1:81", "[::1]:81"},
		{"10.0.0.1:82", "192.0.2.1:82", "10.0.0.9:90"},
	} {
		in := &d.Networking.Inbound[i]
		if got := d.Listen(in); got != netip.MustParseAddrPort(want.listen) {
			t.Errorf("inbound %d listens on %v", i, got)
		}
		if got := d.Reach(in); got != netip.MustParseAddrPort(want.reach) {
			t.Errorf("inbound %d is reached at %v", i, got)
		}
		if got := d.Workload(in); got != netip.MustParseAddrPort(want.workload) {
			t.Errorf("the workload of inbound %d is at %v", i, got)
		}
	}
	d.Networking.AdvertisedAddress = ""
	if got := d.Reach(&d.Networking.Inbound[1]); got != netip.MustParseAddrPort("[2001:db8::1]:81") {
		t.Errorf("not advertised, it is reached at %v", got)
	}
	if got := d.Networking.Outbound[0].Listen(); got != netip.MustParseAddrPort("127.0.0.1:10001") {
		t.Errorf("the outbound listens on %v", got)
	}
}

// What the proxy is: its services in order, its tags over all inbounds.
func TestDataplaneTags(t *testing.T) {
	t.Parallel()
	d := web()
	if diff := cmp.Diff([]string{"web", "web-admin"}, d.Services()); diff != "" {
		t.Error(diff)
	}
	want := map[string][]string{policy.TagService: {"web", "web-admin"}, policy.TagProtocol: {"http"}, "version": {"v1", "v2"}}
	if diff := cmp.Diff(want, d.Tags()); diff != "" {
		t.Error(diff)
	}
	d.Networking.Gateway = &policy.Gateway{Tags: map[string]string{policy.TagService: "edge"}}
	if diff := cmp.Diff([]string{"edge"}, d.Services()); diff != "" {
		t.Error(diff)
	}
}

// An inbound is ready unless its state or its health says otherwise.
func TestInboundReady(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   policy.Inbound
		want bool
	}{
		{policy.Inbound{}, true},
		{policy.Inbound{State: policy.StateReady, Health: &policy.Health{Ready: true}}, true},
		{policy.Inbound{Health: &policy.Health{}}, false},
		{policy.Inbound{State: policy.StateNotReady}, false},
		{policy.Inbound{State: policy.StateIgnored, Health: &policy.Health{Ready: true}}, false},
	} {
		if got := test.in.Ready(); got != test.want {
			t.Errorf("%+v: ready is %v", test.in, got)
		}
	}
	if got := (&policy.Inbound{}).Protocol(); got != policy.ProtocolTCP {
		t.Errorf("without a protocol it speaks %s", got)
	}
}

// The backend that is enabled, and what it says of lifetimes.
func TestMeshBackend(t *testing.T) {
	t.Parallel()
	m := examples()[0].(*policy.Mesh)
	b := m.Enabled()
	if b == nil || b.LeafLife().Seconds() != 90 {
		t.Errorf("got %+v", b)
	}
	b.DPCert, b.Conf = nil, ""
	if b.LeafLife() != policy.DefaultLeafLife {
		t.Errorf("the default is %v", b.LeafLife())
	}
	m.MTLS.EnabledBackend = ""
	if b := m.Enabled(); b != nil {
		t.Errorf("off, the backend is %+v", b)
	}
}
