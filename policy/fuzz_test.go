package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/policy"
)

// FuzzDecode: no input makes the decoder panic, and what it takes is encoded and read back as the same.
func FuzzDecode(f *testing.F) {
	for _, r := range examples() {
		for _, encode := range []func(any) ([]byte, error){policy.Encode, policy.EncodeYAML} {
			data, err := encode(r)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, s := range []string{"", "{", "a: [1, x, {b: ~}]", "a: |\n  b\n c: d", "'\\': \"\\n\\u2028\\x7f\"", "? a\n: b", "---\na: b\n...\n---\n", "{\"a\":1e999}",
		"a: >-\n\n x\n\n y\n", "a: '#'\nb: ' '\nc: \"- \"\nd: '%'", "{\"\":\"\\ufffd\"}", "- - - a\n", "a: !", "a: .", "\u2028", "\"\": \u0085"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if err := policy.Decode(data, &v); err == nil {
			roundTrip(t, v, func(data []byte) (any, error) {
				var v any
				err := policy.Decode(data, &v)
				return v, err
			})
		}
		if r, err := policy.Parse(data); err == nil {
			if policy.New(r.Metadata().Type) == nil {
				t.Errorf("a resource of type %q", r.Metadata().Type)
			}
			if r.Validate() == nil {
				roundTrip(t, r, policy.Parse)
			}
		}
	})
}

// roundTrip encodes v in both languages and reads it back.
func roundTrip[T any](t *testing.T, v T, read func([]byte) (T, error)) {
	t.Helper()
	for _, encode := range []func(any) ([]byte, error){policy.Encode, policy.EncodeYAML} {
		data, err := encode(v)
		if err != nil {
			t.Fatalf("%v does not encode: %v", v, err)
		}
		again, err := read(data)
		if err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Fatalf("%s in\n%s", diff, data)
		}
	}
}

// FuzzVars: a value stays one scalar, whatever is in it and wherever it stands.
func FuzzVars(f *testing.F) {
	for _, s := range []string{"x", "", "no", "x\nmesh: other", `"}`, "{{ b }}", "'", "# x", "- x", ": ", "\U000F0000", "\uE000", "---\n", "\\", "\x00", "\xff", "\u2028"} {
		f.Add(s)
	}
	const yaml = "type: Secret\nmesh: default\nname: {{ a }}\nlabels:\n  b: 'x{{ a }}'\n  c: \"{{ a }}y\"\n  d: |-\n    x{{ a }}\n# {{ b }}\n"
	const flow = `{"type": "Secret", "mesh": "default", "name": "{{ a }}", "labels": {"b": "x{{ a }}", "c": "{{ a }}y", "d": "x{{ a }}"}}`
	f.Fuzz(func(t *testing.T, value string) {
		want := &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: "default", Name: value,
			Labels: map[string]string{"b": "x" + value, "c": value + "y", "d": "x" + value}}}
		for _, doc := range []string{yaml, flow} {
			r, err := policy.ParseVars([]byte(doc), map[string]string{"a": value})
			if err != nil {
				if !strings.Contains(err.Error(), "is not UTF-8 text") {
					t.Errorf("%q: %v", value, err)
				}
				continue
			}
			if diff := cmp.Diff(policy.Resource(want), r); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// FuzzName: the name of a mesh is a trust domain, and the value of a tag is a segment of a SPIFFE ID's path and the
// other way round.
func FuzzName(f *testing.F) {
	for _, s := range []string{"default", "", ".", "..", "...", "-", "a_b", "A", "a/b", "a%2fb", "a\x00", "10.0.0.1", "spiffe://a", "\u00fc", "a:b", "xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if policy.ValidMeshName(s) == nil {
			if td, err := spiffeid.TrustDomainFromString(s); err != nil || td.Name() != s {
				t.Errorf("mesh %q is trust domain %v, %v", s, td, err)
			}
			if policy.ValidName(s) != nil {
				t.Errorf("mesh %q is no name", s)
			}
		}
		td := spiffeid.RequireTrustDomainFromString("default")
		id, err := spiffeid.FromSegments(td, s)
		if valid := policy.ValidTagValue(s) == nil; valid != (err == nil && len(s) <= 255) {
			t.Errorf("tag %q is valid: %v; as a segment: %v", s, valid, err)
		} else if valid && id.Path() != "/"+s {
			t.Errorf("tag %q is path %q", s, id.Path())
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, encode := range map[string]func(any) ([]byte, error){"JSON": policy.Encode, "YAML": policy.EncodeYAML} {
		data, err := encode(web())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := policy.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
