package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"koguma/policy"
	"koguma/xds"
)

var update = flag.Bool("update", false, "write the golden files anew")

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
