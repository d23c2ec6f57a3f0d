package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// invalid is what Validate finds, by field.
func invalid(t *testing.T, r policy.Resource) map[string]string {
	t.Helper()
	err := r.Validate()
	if err == nil {
		return nil
	}
	var bad *policy.Invalid
	if !errors.As(err, &bad) || len(bad.Fields) == 0 {
		t.Fatalf("Validate returns %T: %v", err, err)
	}
	found := map[string]string{}
	for _, f := range bad.Fields {
		found[f.Field] += f.Reason
		if !strings.Contains(err.Error(), f.Field+": "+f.Reason) {
			t.Errorf("the error leaves out %s", f.Field)
		}
	}
	return found
}

// change is a way to break a valid resource, and what must then be said of which field, as "field: reason"; nothing,
// if the resource is still valid.
type change[R any] struct {
	name   string
	change func(R)
	want   string
}

// run applies each change to a fresh resource.
func run[R policy.Resource](t *testing.T, fresh func() R, changes []change[R]) {
	t.Helper()
	if found := invalid(t, fresh()); found != nil {
		t.Fatalf("not valid to begin with: %v", found)
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			r := fresh()
			c.change(r)
			found := invalid(t, r)
			field, reason, _ := strings.Cut(c.want, ": ")
			if c.want == "" && found != nil {
				t.Errorf("refused: %v", found)
			} else if got, ok := found[field]; c.want != "" && (!ok || len(found) != 1 || !strings.Contains(got, reason)) {
				t.Errorf("got %v, want %s", found, c.want)
			}
		})
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "0", "web-1", "a.b", "a--b", strings.Repeat("a", 253), "xn--bcher-kva"} {
		if err := policy.ValidName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("a", 254), "A", "a_b", "-a", "a-", "a..b", ".", "..", ".a", "a.", "a.-b", "../x", "a/b",
		"a%2fb", "a\x00", "a\n", "\u00fc", "\U0001F43B", "a\u202eb", "a b", "*", "a:b"} {
		if err := policy.ValidName(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestValidMeshName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", strings.Repeat("a", 63), "a.b", "10.0.0.1"} {
		if err := policy.ValidMeshName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("a", 64), "...", "-", "_", "Default", "a_b", "a:1", "a/b", "[::1]", "a@b"} {
		if err := policy.ValidMeshName(name); err == nil {
			t.Errorf("%q is the name of a mesh", name)
		}
	}
}

func TestValidTags(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"web", "V1.0_a-b", "...", strings.Repeat("a", 255)} {
		if err := policy.ValidTagValue(value); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
	for _, value := range []string{"", ".", "..", "a/b", "a:b", "a b", "*", "a*", "a%2fb", "\u00fc", "a\n", "a\x00", strings.Repeat("a", 300)} {
		if err := policy.ValidTagValue(value); err == nil {
			t.Errorf("%q is the value of a tag", value)
		}
	}
	for _, key := range []string{"version", "kuma.io/service", "kuma.io/protocol", "kuma.io/zone", "kuma.io/instance", "example.com/a_b:c", "xkuma.io/a"} {
		if err := policy.ValidTagKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "*", "a b", "\u00fc", "kuma.io/foo", "kuma.io/", "kuma.io/Service", "k8s.kuma.io/x", strings.Repeat("a", 256)} {
		if err := policy.ValidTagKey(key); err == nil {
			t.Errorf("%q is the name of a tag", key)
		}
	}
}

func TestMeshValidate(t *testing.T) {
	t.Parallel()
	fresh := func() *policy.Mesh { return examples()[0].(*policy.Mesh) }
	backend := func(f func(*policy.Backend)) func(*policy.Mesh) {
		return func(m *policy.Mesh) { f(&m.MTLS.Backends[0]) }
	}
	life := func(leaf time.Duration) func(*policy.Mesh) {
		return backend(func(b *policy.Backend) { b.DPCert.Rotation.Expiration = policy.Duration(leaf) })
	}
	run(t, fresh, []change[*policy.Mesh]{
		{"type", func(m *policy.Mesh) { m.Type = policy.TypeSecret }, "type: must be Mesh"},
		{"in a mesh", func(m *policy.Mesh) { m.Mesh = "default" }, "mesh: must be left out"},
		{"name", func(m *policy.Mesh) { m.Name = "..." }, "name: lower case"},
		{"long name", func(m *policy.Mesh) { m.Name = strings.Repeat("a", 64) }, "name: at most 63"},
		{"label", func(m *policy.Mesh) { m.Labels = map[string]string{"a": "\x1b[31m"} }, `labels["a"]: printable`},
		{"label name", func(m *policy.Mesh) { m.Labels = map[string]string{"a b": ""} }, `labels["a b"]: the name`},
		{"plain", func(m *policy.Mesh) { m.MTLS = nil }, ""},
		{"off", func(m *policy.Mesh) { m.MTLS.EnabledBackend = "" }, ""},
		{"unknown backend", func(m *policy.Mesh) { m.MTLS.EnabledBackend = "ca-2" }, `mtls.enabledBackend: "ca-2" is none of`},
		{"backend taken away", func(m *policy.Mesh) { m.MTLS.Backends = nil }, "mtls.enabledBackend: none of"},
		{"two backends", func(m *policy.Mesh) {
			m.MTLS.Backends = append(m.MTLS.Backends, policy.Backend{Name: "ca-2", Type: "provided"})
		}, ""},
		{"no type", backend(func(b *policy.Backend) { b.Type = "" }), "mtls.backends[0].type: must be given"},
		{"permissive", backend(func(b *policy.Backend) { b.Mode = "PERMISSIVE" }), ""},
		{"mode", backend(func(b *policy.Backend) { b.Mode = "permissive" }), "mtls.backends[0].mode: must be STRICT or PERMISSIVE"},
		{"default mode", backend(func(b *policy.Backend) { b.Mode = "" }), ""},
		{"no leaf life", backend(func(b *policy.Backend) { b.DPCert = &policy.DPCert{} }), "mtls.backends[0].dpCert.rotation.expiration: between 10s and 90d"},
		{"default life", backend(func(b *policy.Backend) { b.DPCert, b.Conf = nil, "" }), ""},
		{"short leaf", life(9 * time.Second), "mtls.backends[0].dpCert.rotation.expiration: between"},
		{"long leaf", life(91 * 24 * time.Hour), "mtls.backends[0].dpCert.rotation.expiration: between"},
		{"shortest", life(10 * time.Second), ""},
		{"impatient", backend(func(b *policy.Backend) { b.DPCert.RequestTimeout = -1 }), "mtls.backends[0].dpCert.requestTimeout: must not be"},
		{"backend name", func(m *policy.Mesh) {
			m.MTLS.EnabledBackend, m.MTLS.Backends[0].Name = "CA", "CA"
		}, "mtls.backends[0].name: lower case"},
		{"long backend name", func(m *policy.Mesh) {
			m.MTLS.Backends[0].Name = strings.Repeat("a", 240)
			m.MTLS.EnabledBackend = m.MTLS.Backends[0].Name
		}, "mtls.backends[0].name: too long"},
		{"policies that nobody creates", func(m *policy.Mesh) { m.SkipCreatingInitialPolicies = []string{"*"} }, ""},
	})
	twice := fresh()
	twice.MTLS.Backends = append(twice.MTLS.Backends, twice.MTLS.Backends[0])
	if found := invalid(t, twice); found["mtls.backends[1].name"] == "" {
		t.Errorf("two backends of one name: %v", found)
	}
}

func TestPermissionValidate(t *testing.T) {
	t.Parallel()
	type permission = *policy.TrafficPermission
	fresh := func() permission { return examples()[2].(permission) }
	source := func(k, v string) func(permission) {
		return func(p permission) { p.Sources[0].Match = map[string]string{k: v} }
	}
	destination := func(k, v string) func(permission) {
		return func(p permission) { p.Destinations[0].Match = map[string]string{k: v} }
	}
	run(t, fresh, []change[permission]{
		{"no mesh", func(p permission) { p.Mesh = "" }, "mesh: must not be empty"},
		{"no sources", func(p permission) { p.Sources = nil }, "sources: at least one"},
		{"no destinations", func(p permission) { p.Destinations = nil }, "destinations: at least one"},
		{"empty source", func(p permission) { p.Sources[0].Match = nil }, "sources[0].match: at least one tag"},
		{"empty destination", func(p permission) { p.Destinations[0].Match = nil }, "destinations[0].match: at least one tag"},
		{"any source", source(policy.TagService, "*"), ""},
		{"any destination", destination(policy.TagService, "*"), ""},
		{"source glob", source(policy.TagService, "a*"), `sources[0].match["kuma.io/service"]: only the whole value`},
		{"destination glob", destination("version", "*a"), `destinations[0].match["version"]: only the whole value`},
		{"source by version", source("version", "v1"), ""},
		{"source with any version", source("version", "*"), ""},
		{"destination by version", destination("version", "v1"), ""},
		{"any name", destination("*", "v1"), `destinations[0].match["*"]: the name`},
		{"reserved name", destination("kuma.io/servise", "x"), `destinations[0].match["kuma.io/servise"]: reserved`},
		{"bad value", destination(policy.TagService, "a/b"), `destinations[0].match["kuma.io/service"]: SPIFFE`},
		{"empty value", source(policy.TagService, ""), `sources[0].match["kuma.io/service"]: must not be empty`},
	})
}

func TestSecretValidate(t *testing.T) {
	t.Parallel()
	fresh := func() *policy.Secret { return examples()[3].(*policy.Secret) }
	named := func(name string) func(*policy.Secret) { return func(s *policy.Secret) { s.Name = name } }
	run(t, fresh, []change[*policy.Secret]{
		{"no data", func(s *policy.Secret) { s.Data = nil }, "data: must not be empty"},
		{"no mesh", func(s *policy.Secret) { s.Mesh = "" }, "mesh: must not be empty"},
		{"signing key", named("dataplane-token-signing-key-default-1"), ""},
		{"later signing key", named("dataplane-token-signing-key-default-10"), ""},
		{"padded", named("dataplane-token-signing-key-default-0002"), "name: without leading zeros"},
		{"serial 0", named("dataplane-token-signing-key-default-0"), "name: from 1 on"},
		{"no serial", named("dataplane-token-signing-key-default"), "name: serial number"},
		{"negative", named("dataplane-token-signing-key-default--1"), "name: serial number"},
		{"no number", named("dataplane-token-signing-key-default-1a"), "name: serial number"},
		{"huge", named("dataplane-token-signing-key-default-99999999999999999999"), "name: serial number"},
		{"of another mesh", named("dataplane-token-signing-key-other-1"), "name: dataplane-token-signing-key-default-"},
		{"of no mesh", named("dataplane-token-signing-key"), "name: dataplane-token-signing-key-default-"},
		{"misspelt", named("dataplane-token-signing-keys-default-1"), "name: dataplane-token-signing-key-default-"},
		{"two numbers", named("dataplane-token-signing-key-default-1-2"), "name: serial number"},
		{"revocations", named("dataplane-token-revocations-default"), ""},
		{"revocations of another mesh", named("dataplane-token-revocations-other"), "name: dataplane-token-revocations-default"},
		{"revocations of no mesh", named("dataplane-token-revocations"), "name: dataplane-token-revocations-default"},
		{"CA", named("default.ca-builtin-cert-ca-1"), ""},
	})
	global := &policy.GlobalSecret{Meta: policy.Meta{Type: policy.TypeGlobalSecret, Mesh: "default", Name: "g"}}
	if diff := cmp.Diff([]string{"data", "mesh"}, keys(invalid(t, global))); diff != "" {
		t.Error(diff)
	}
}
