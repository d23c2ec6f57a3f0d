package xds_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// services are sources that name services and nothing else, "" for any.
func services(names ...string) []policy.Source {
	var all []policy.Source
	for _, name := range names {
		all = append(all, policy.Source{Service: name})
	}
	return all
}

func build(t *testing.T, v *xds.View) *xds.Snapshot {
	t.Helper()
	s, err := new(xds.Builder).Build(v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A proxy that nobody may reach has no chain but the one that denies.
func TestDenyByDefault(t *testing.T) {
	t.Parallel()
	for _, protocol := range []policy.Protocol{policy.ProtocolTCP, policy.ProtocolHTTP} {
		v := views()["denied"]
		v.Inbounds[0].Protocol = protocol
		var l listenerv3.Listener
		if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		text := protojson.Format(&l)
		if len(l.FilterChains) != 0 || l.DefaultFilterChain.GetTransportSocket() == nil ||
			!strings.Contains(text, "RBAC") || strings.Contains(text, "principals") {
			t.Errorf("%s: an inbound without permission has\n%s", protocol, text)
		}
	}
}

// What the control plane says of one source touches no other source's chain.
func TestChainsAreIndependent(t *testing.T) {
	t.Parallel()
	chain := func(sources ...string) *listenerv3.FilterChain {
		v := views()["denied"]
		v.Inbounds[0].Sources, v.Inbounds[0].Callers = services(sources...), sources
		var l listenerv3.Listener
		if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		for _, c := range l.FilterChains {
			if c.Name == "web" {
				return c
			}
		}
		return nil
	}
	alone := chain("web")
	if alone == nil || !proto.Equal(alone, chain("api", "web")) {
		t.Error("a source more changes the chain of another")
	}
	if chain("api") != nil {
		t.Error("a source that is not let in has a chain")
	}
}

// Beyond the bound, sources share the default chain.
func TestManySources(t *testing.T) {
	t.Parallel()
	v := views()["denied"]
	for i := range 300 {
		name := fmt.Sprintf("s%03d", i)
		v.Inbounds[0].Callers = append(v.Inbounds[0].Callers, name)
		v.Inbounds[0].Sources = append(v.Inbounds[0].Sources, policy.Source{Service: name})
	}
	var l listenerv3.Listener
	if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, &l); err != nil {
		t.Fatal(err)
	}
	if len(l.FilterChains) != 128+1 || !strings.Contains(protojson.Format(l.DefaultFilterChain), "spiffe://default/s299") {
		t.Errorf("%d chains, and the default one is %v", len(l.FilterChains), l.DefaultFilterChain)
	}
}

// Names in an SNI stay apart, whatever they are made of.
func TestServerName(t *testing.T) {
	t.Parallel()
	if got := xds.ServerName("web", "backend", "default"); got != "web.backend.default" {
		t.Errorf("got %q", got)
	}
	seen := map[string]string{}
	for _, name := range []string{
		"web", "Web", "web.api", "web_api", "-web", "web-", strings.Repeat("a", 63), strings.Repeat("a", 64), "h-0",
		"h-" + strings.Repeat("0", 32),
	} {
		sni := xds.ServerName(name, "b", "m")
		label, rest, _ := strings.Cut(sni, ".")
		if rest != "b.m" || len(label) > 63 || strings.ToLower(label) != label || strings.ContainsAny(label, "_") {
			t.Errorf("%q became %q", name, sni)
		}
		if other, ok := seen[label]; ok {
			t.Errorf("%q and %q share the label %q", name, other, label)
		}
		seen[label] = name
	}
	hashed, _, _ := strings.Cut(xds.ServerName("Web", "b", "m"), ".")
	if again, _, _ := strings.Cut(xds.ServerName(hashed, "b", "m"), "."); again == hashed {
		t.Errorf("a service called %q is taken for Web", hashed)
	}
}

// The same view gives the same bytes from any builder, and two proxies that have the same share it.
func TestSharing(t *testing.T) {
	t.Parallel()
	var b xds.Builder
	v := views()["permitted"]
	one, err := b.Build(v)
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Build(v)
	if err != nil {
		t.Fatal(err)
	}
	other := build(t, views()["permitted"])
	for i, r := range one.Clusters.All() {
		if two.Clusters.All()[i] != r {
			t.Errorf("%s was built twice", r.Name)
		}
	}
	if one.Listeners.Version() != other.Listeners.Version() || one.Clusters.Version() != other.Clusters.Version() ||
		one.Endpoints.Version() != other.Endpoints.Version() || one.Secrets.Version() != other.Secrets.Version() {
		t.Error("the same view gave different versions")
	}
	held := b.Held()
	runtime.KeepAlive(one)
	runtime.KeepAlive(two)
	for deadline := time.Now().Add(10 * time.Second); b.Held() > 0; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d resources are still held though nobody has them", b.Held(), held)
		}
	}
}

// Two different resources of one name cannot both be served.
func TestNameClash(t *testing.T) {
	t.Parallel()
	v := views()["plain"]
	v.Inbounds[1].Listen = v.Inbounds[0].Listen
	if _, err := new(xds.Builder).Build(v); err == nil || !strings.Contains(err.Error(), "inbound:10.0.0.9:80") {
		t.Errorf("got %v", err)
	}
}

// A secret has the chain and the key, or the chain alone.
func TestTLSSecret(t *testing.T) {
	t.Parallel()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{nil, keyPEM} {
		var s tlsv3.Secret
		if err := proto.Unmarshal(xds.TLSSecret("id", []byte("chain"), want).Body, &s); err != nil {
			t.Fatal(err)
		}
		got := s.GetTlsCertificate()
		if s.Name != "id" || string(got.GetCertificateChain().GetInlineBytes()) != "chain" ||
			!bytes.Equal(got.GetPrivateKey().GetInlineBytes(), want) {
			t.Errorf("got %v", &s)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := &xds.View{Mesh: "default", Service: "web", MTLS: true, Roots: "roots"}
			for i := range n {
				name := fmt.Sprintf("s%d", i)
				v.Outbounds = append(v.Outbounds, xds.Outbound{
					Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10000+i)), Service: name,
					Protocol: policy.ProtocolHTTP, Endpoints: &xds.Endpoints{Cluster: name, Addresses: []netip.AddrPort{at("10.0.0.1:80")}},
				})
			}
			b.Run("first", func(b *testing.B) {
				for b.Loop() {
					if _, err := new(xds.Builder).Build(v); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("shared", func(b *testing.B) {
				var builder xds.Builder
				s, err := builder.Build(v)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := builder.Build(v); err != nil {
						b.Fatal(err)
					}
				}
				runtime.KeepAlive(s)
			})
		})
	}
}
