package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// One resource of each type.
func examples() []policy.Resource {
	meta := func(t policy.Type, mesh, name string) policy.Meta {
		return policy.Meta{Type: t, Mesh: mesh, Name: name, CreationTime: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
			Labels: map[string]string{"z": "<no>", "a": "12"}}
	}
	mesh := &policy.Mesh{Meta: meta(policy.TypeMesh, "", "default"), MTLS: &policy.MTLS{EnabledBackend: "ca-1", Backends: []policy.Backend{{
		Name: "ca-1", Type: policy.BackendBuiltin, Mode: policy.ModeStrict, DPCert: &policy.DPCert{},
		Conf: `{"caCert":{"RSAbits":2048,"expiration":"10y"}}`,
	}}}}
	mesh.MTLS.Backends[0].DPCert.Rotation.Expiration = policy.Duration(90 * time.Second)
	return []policy.Resource{
		mesh,
		web(),
		&policy.TrafficPermission{Meta: meta(policy.TypeTrafficPermission, "default", "web-to-backend"),
			Sources:      []policy.Selector{{Match: map[string]string{policy.TagService: "web"}}},
			Destinations: []policy.Selector{{Match: map[string]string{policy.TagService: "backend", "version": "*"}}}},
		&policy.Secret{Meta: meta(policy.TypeSecret, "default", "s"), Data: policy.Bytes("\x00\xff secret")},
		&policy.GlobalSecret{Meta: meta(policy.TypeGlobalSecret, "", "g"), Data: policy.Bytes("x")},
		&policy.MeshTrafficPermission{Meta: meta(policy.TypeMeshTrafficPermission, "default", "by-tags"), Spec: policy.MeshTrafficPermissionSpec{
			TargetRef: &policy.TargetRef{Kind: policy.TargetDataplane, Labels: map[string]string{"app": "a"}, SectionName: "80", ProxyTypes: []string{"Sidecar"}},
			From: []policy.From{{Default: policy.FromDefault{Action: policy.Deny}, TargetRef: policy.TargetRef{
				Kind: policy.TargetMeshServiceSubset, Name: "web", Tags: map[string]string{"version": "*"}}}},
		}},
		&policy.MeshTrafficPermission{Meta: meta(policy.TypeMeshTrafficPermission, "default", "by-id"), Spec: policy.MeshTrafficPermissionSpec{
			Rules: []policy.Matches{{Default: policy.MatchesDefault{
				Deny:       []policy.IdentityMatch{{SpiffeID: &policy.TextMatch{Type: policy.MatchExact, Value: "spiffe://default/web"}}},
				ShadowDeny: []policy.IdentityMatch{{SpiffeID: &policy.TextMatch{Type: policy.MatchPrefix, Value: "spiffe://default/"}}},
			}}},
		}},
	}
}

// web is a data plane with something in most fields.
func web() *policy.Dataplane {
	return &policy.Dataplane{
		Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: "web-1"},
		Networking: policy.Networking{
			Address: "10.0.0.1", AdvertisedAddress: "192.0.2.1", Admin: &policy.Admin{Port: 9901},
			Inbound: []policy.Inbound{
				{Port: 80, ServicePort: 8080, Tags: map[string]string{policy.TagService: "web", policy.TagProtocol: "http", "version": "v1"}},
				{Port: 81, Address: "2001:db8::1", Tags: map[string]string{policy.TagService: "web-admin", "version": "v1"},
					Health: &policy.Health{Ready: true}},
				{Port: 82, ServicePort: 90, ServiceAddress: "10.0.0.9", State: policy.StateNotReady,
					Tags: map[string]string{policy.TagService: "web", "version": "v2"}},
			},
			Outbound: []policy.Outbound{{Port: 10001, Tags: map[string]string{policy.TagService: "backend"}},
				{Port: 10001, Address: "::1", Tags: map[string]string{policy.TagService: "other"}}},
		},
	}
}

// What is encoded is read back as it was, and is valid.
func TestEncodeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range examples() {
		if err := want.Validate(); err != nil {
			t.Errorf("%v: %v", want.Metadata().Key(), err)
		}
		for _, encode := range []func(any) ([]byte, error){policy.Encode, policy.EncodeYAML} {
			data, err := encode(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := policy.Parse(data)
			if err != nil {
				t.Fatalf("%v in\n%s", err, data)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// YAML has the fields in the order of JSON, and quotes what needs it.
func TestEncodeYAML(t *testing.T) {
	t.Parallel()
	got, err := policy.EncodeYAML(examples()[2])
	if err != nil {
		t.Fatal(err)
	}
	want := `type: TrafficPermission
mesh: default
name: web-to-backend
creationTime: "2026-01-02T03:04:05.000000006Z"
labels:
  a: "12"
  z: <no>
sources:
  - match:
      kuma.io/service: web
destinations:
  - match:
      kuma.io/service: backend
      version: '*'
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// YAML quotes every text that is not text to each of its readers, and keeps all text on one line.
func TestEncodeYAMLQuotes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"no": `"no"`, "y": `"y"`, "12:30": `"12:30"`, "010": `"010"`, "1e3": `"1e3"`, "": `""`, "~": `"~"`, "2020-01-01": `"2020-01-01"`,
		"a\nb": `"a\nb"`, " a": "' a'", "\u00fc": "\"\u00fc\"", "web": "web", "a: b": "'a: b'", "\u2028": `"\L"`,
	} {
		got, err := policy.EncodeYAML(map[string]string{"k": text})
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != "k: "+want+"\n" {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// JSON is one line and says < where < is meant.
func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	m := policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "a", Labels: map[string]string{"b": "<&>", "a": ""}}}
	if got, err := policy.Encode(m); err != nil || string(got) != `{"type":"Mesh","name":"a","labels":{"a":"","b":"<&>"}}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// A secret is in its encoding and nowhere else.
func TestBytesAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := policy.Secret{Data: policy.Bytes("hunter2")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s.Data) + fmt.Sprintf(verb, s); strings.Contains(got, "hunter2") || strings.Contains(got, "68756e") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// A file has many resources, one after the other.
func TestParseAll(t *testing.T) {
	t.Parallel()
	in := "# two\n---\ntype: Mesh\nname: a\n---\n# nothing\n--- # json\n{\"type\":\"Mesh\",\"name\":\"b\"}\n---\ntype: Secret\nmesh: a\nname: c\n---"
	all, err := policy.ParseAll([]byte(in), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Metadata().Key().String())
	}
	if diff := cmp.Diff([]string{`Mesh "a"`, `Mesh "b"`, `Secret "c" of mesh "a"`}, got); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]string{
		"":                                       "the document is empty",
		"---\n# x\n---\n":                        "the document is empty",
		"type: Mesh\nname: a\n---\nname: b":      `line 4, column 1: field "type" is missing: one of Mesh, Dataplane`,
		"type: Mesh\nname: a\n---\ntype: mesh\n": `line 4, column 7: type: unknown type "mesh"`,
		"type: 1":                                "type: must be one of Mesh",
		"- a":                                    "a resource must be an object, not a list",
		"type: Mesh\nname: a\n---\ntype: Mesh\nname: 1": `line 5, column 7: name: "1" is a number: quote it`,
	} {
		if _, err := policy.ParseAll([]byte(in), nil); !strings.Contains(message(err), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
	if _, err := policy.ParseVars([]byte(in), nil); !strings.Contains(message(err), "a second document") {
		t.Errorf("got %v", err)
	}
}

// Each kind is found by its type and by its path, and its type makes a resource.
// A list of revoked tokens may be long, and nothing else may.
func TestParseSize(t *testing.T) {
	t.Parallel()
	secret := func(size int) []byte {
		return []byte(`{"type":"Secret","mesh":"default","name":"s","data":"` + strings.Repeat("QUJD", size/4) + `"}`)
	}
	for _, test := range []struct {
		name  string
		parse func([]byte) error
		size  int
		want  string
	}{
		{"a resource", func(data []byte) error { _, err := policy.Parse(data); return err }, 1 << 20, "larger than 1 MiB"},
		{"a secret", func(data []byte) error { _, err := policy.ParseSecret(data); return err }, 7 << 20, ""},
		{"too large a secret", func(data []byte) error { _, err := policy.ParseSecret(data); return err }, 8 << 20, "larger than 8 MiB"},
		{"a file", func(data []byte) error { _, err := policy.ParseAll(data, nil); return err }, 7 << 20, ""},
		{"too large a file", func(data []byte) error { _, err := policy.ParseAll(data, nil); return err }, 8 << 20, "larger than 8 MiB"},
	} {
		err := test.parse(secret(test.size))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range policy.Kinds() {
		if got, ok := policy.KindOf(k.Type); !ok || got != k {
			t.Errorf("KindOf(%s) is %+v, %v", k.Type, got, ok)
		}
		if r := policy.New(k.Type); r == nil || r.Metadata().Type != k.Type {
			t.Errorf("New(%s) is %v", k.Type, r)
		}
	}
	if _, ok := policy.KindOf("mesh"); ok {
		t.Error("there is a kind called mesh")
	}
	if r := policy.New("mesh"); r != nil {
		t.Errorf("New of an unknown type is %v", r)
	}
}

// Keys are ordered by type, then mesh, then name.
func TestKeyCompare(t *testing.T) {
	t.Parallel()
	keys := []policy.Key{{"A", "a", "a"}, {"A", "a", "b"}, {"A", "b", "a"}, {"B", "a", "a"}}
	for i, a := range keys {
		for j, b := range keys {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v compared to %v is %d", a, b, got)
			}
		}
	}
}

// What the control plane tells of a proxy is read as strictly as anything.
func TestOverview(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := policy.DataplaneOverview{
		Meta:      policy.Meta{Type: "DataplaneOverview", Mesh: "default", Name: "web-1"},
		Dataplane: policy.DataplaneSpec{Networking: web().Networking},
		Insight: policy.DataplaneInsight{Subscriptions: []policy.Subscription{
			{ID: "1", ConnectTime: now, DisconnectTime: now.Add(time.Minute), Status: policy.SubscriptionStatus{
				Total: policy.DeliveryStats{ResponsesSent: 1<<64 - 1}}},
		}, MTLS: &policy.MTLSInsight{CertificateExpirationTime: now, SupportedBackends: []string{"ca-1"}}},
	}
	data, err := policy.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got policy.DataplaneOverview
	if err := policy.Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Insight.Online() {
		t.Error("online after its end")
	}
	got.Insight.Subscriptions = append(got.Insight.Subscriptions, policy.Subscription{ConnectTime: now})
	if !got.Insight.Online() {
		t.Error("offline with an open stream")
	}
}
