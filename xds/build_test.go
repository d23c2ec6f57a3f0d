package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// services are sources that name services and nothing else, "" for any.
func services(names ...string) []policy.Source {
	var all []policy.Source
	for _, name := range names {
		all = append(all, policy.Source{Service: name})
	}
	return all
}

// views are the configurations that the golden files show.
func views() map[string]*xds.View {
	backend := &xds.Endpoints{Cluster: "backend", Addresses: []netip.AddrPort{at("10.0.0.1:80"), at("10.0.0.2:80")}}
	roots := "-----BEGIN CERTIFICATE-----\n"
	return map[string]*xds.View{
		"plain": {
			Mesh: "default", Service: "web",
			Inbounds: []xds.Inbound{
				{Listen: at("10.0.0.9:80"), Workload: at("127.0.0.1:8080"), Service: "web", Protocol: policy.ProtocolHTTP},
				{Listen: at("10.0.0.9:81"), Workload: at("10.0.0.9:8081"), Service: "web-admin", Protocol: policy.ProtocolTCP},
			},
			Outbounds: []xds.Outbound{
				{Listen: at("127.0.0.1:1001"), Service: "backend", Protocol: policy.ProtocolHTTP, Endpoints: backend},
				{Listen: at("127.0.0.1:1002"), Service: "db", Protocol: policy.ProtocolTCP, Endpoints: &xds.Endpoints{Cluster: "db"}},
			},
		},
		"denied": {
			Mesh: "default", Service: "web", MTLS: true, Roots: roots,
			Inbounds: []xds.Inbound{{Listen: at("10.0.0.9:80"), Workload: at("127.0.0.1:8080"), Service: "web", Protocol: policy.ProtocolTCP}},
		},
		"noted": {
			Mesh: "default", Service: "web", MTLS: true, Roots: roots, Notes: true,
			Inbounds: []xds.Inbound{
				{
					Listen: at("10.0.0.9:80"), Workload: at("127.0.0.1:8080"), Service: "web", Protocol: policy.ProtocolHTTP,
					Sources: []policy.Source{{Service: "front"}}, Callers: []string{"front"},
					Note: xds.Note{Mode: policy.ModeStrict, Permission: "front-web", PermissionVersion: 7},
				},
				{
					Listen: at("10.0.0.9:81"), Workload: at("127.0.0.1:8081"), Service: "web-admin", Protocol: policy.ProtocolTCP,
					Note: xds.Note{Mode: policy.ModeStrict},
				},
			},
		},
		"withdrawn": {
			Mesh: "default", Service: "backend", MTLS: true, Roots: roots,
			Withdrawn: &xds.Withdrawn{Rounds: map[string]int{"web": 2, "db": 1}},
			Inbounds: []xds.Inbound{{
				Listen: at("10.0.0.1:80"), Workload: at("127.0.0.1:8080"), Service: "backend", Protocol: policy.ProtocolHTTP,
				Sources: services("api", "web"), Callers: []string{"api", "web"},
			}},
			Outbounds: []xds.Outbound{
				{Listen: at("127.0.0.1:1002"), Service: "db", Protocol: policy.ProtocolTCP, Endpoints: &xds.Endpoints{Cluster: "db"}},
			},
		},
		"permissive": {
			Mesh: "default", Service: "web", MTLS: true, Mode: policy.ModePermissive, Roots: roots,
			Inbounds: []xds.Inbound{
				{
					Listen: at("10.0.0.9:80"), Workload: at("127.0.0.1:8080"), Service: "web", Protocol: policy.ProtocolHTTP,
					Sources: []policy.Source{{Service: "client"}}, Callers: []string{"client"},
				},
				{
					Listen: at("10.0.0.9:81"), Workload: at("127.0.0.1:8081"), Service: "web-admin", Protocol: policy.ProtocolTCP,
					Sources: []policy.Source{{}}, Callers: []string{"client"},
				},
			},
		},
		"merged": {
			Mesh: "default", Service: "backend", MTLS: true, Roots: roots, Notes: true,
			Inbounds: []xds.Inbound{
				{
					Listen: at("10.0.0.1:80"), Workload: at("127.0.0.1:8080"), Service: "backend", Protocol: policy.ProtocolHTTP,
					Sources: []policy.Source{{Prefix: "web", Except: []policy.Source{
						{Service: "web-old"}, {Prefix: "web", Tags: map[string]string{"env": "dev"}},
					}}},
					Doubted: []policy.Source{{Service: "web"}},
					Callers: []string{"web", "web-new"},
				},
				{
					Listen: at("10.0.0.1:81"), Workload: at("127.0.0.1:8081"), Service: "backend-tcp", Protocol: policy.ProtocolTCP,
					Sources: []policy.Source{{Service: "web"}}, Doubted: []policy.Source{{Service: "web"}}, Callers: []string{"web"},
				},
			},
		},
		"permitted": {
			Mesh: "default", Service: "backend", Names: "2.version.tag.koguma.internal", MTLS: true, Roots: roots,
			Inbounds: []xds.Inbound{
				{
					Listen: at("10.0.0.1:80"), Workload: at("127.0.0.1:8080"), Service: "backend", Protocol: policy.ProtocolGRPC,
					Sources: services("Not.A_Label", "web"), Callers: []string{"Not.A_Label", "web"},
				},
				{
					Listen: at("10.0.0.1:82"), Workload: at("127.0.0.1:8082"), Service: "backend-beta", Protocol: policy.ProtocolHTTP,
					Sources: []policy.Source{
						{Tags: map[string]string{"example.com/Team": "Red", "version": policy.Any}},
						{Service: "web", Tags: map[string]string{"version": "2"}},
					},
					Callers: []string{"web"},
				},
				{
					Listen: at("[fd00::1]:81"), Workload: at("[::1]:8081"), Service: "backend-admin", Protocol: policy.ProtocolTCP,
					Sources: services(""), Callers: []string{"web"},
				},
			},
			Outbounds: []xds.Outbound{
				{Listen: at("127.0.0.1:1001"), Service: "backend", Protocol: policy.ProtocolHTTP2, Endpoints: backend},
			},
		},
	}
}

func build(t *testing.T, v *xds.View) *xds.Snapshot {
	t.Helper()
	s, err := new(xds.Builder).Build(v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asBootstrap shows a snapshot as the static part of a bootstrap, so that a person can read it and an Envoy judge it.
func asBootstrap(t *testing.T, s *xds.Snapshot) []byte {
	t.Helper()
	show := func(set *xds.Set, m proto.Message) []json.RawMessage {
		var out []json.RawMessage
		for _, r := range set.All() {
			proto.Reset(m)
			if err := proto.Unmarshal(r.Body, m); err != nil {
				t.Fatal(err)
			}
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
		}
		return out
	}
	ads := json.RawMessage(`{"name":"ads","type":"STATIC","typed_extension_protocol_options":{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{
			"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config":{"http2_protocol_options":{}}}}}`)
	text, err := json.MarshalIndent(map[string]any{
		"static_resources": map[string]any{
			"clusters":  append(show(s.Clusters, new(clusterv3.Cluster)), ads),
			"listeners": show(s.Listeners, new(listenerv3.Listener)),
		},
		"dynamic_resources": json.RawMessage(
			`{"ads_config":{"api_type":"GRPC","transport_api_version":"V3","grpc_services":[{"envoy_grpc":{"cluster_name":"ads"}}]}}`),
		"node": map[string]string{"id": "default.web", "cluster": "web"},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// The configuration is what the golden files show, and Envoy takes it without a warning.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, v := range views() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := asBootstrap(t, build(t, v))
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what is built; see what differs with: go test ./xds -update && git diff", file)
			}
			cmd := exec.Command(envoyBinary(t), "--mode", "validate", "-l", "warning", "-c", file)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(strings.TrimSpace(string(out)), "configuration '") {
				t.Errorf("envoy --mode validate: %v\n%s", err, out)
			}
		})
	}
}

// envoyBinary is the Envoy that make tools fetches, unless the environment names another.
func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("KOGUMA_ENVOY")
	if path == "" {
		path = "../.tools/envoy/bin/envoy"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make tools", err)
	}
	return path
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
