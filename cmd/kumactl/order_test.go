package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// Everything is sent once, in the order in which it stands, but that a Mesh with mTLS comes after what it needs.
func TestOrder(t *testing.T) {
	t.Parallel()
	docs := map[string]string{
		"dp":     "type: Dataplane\nmesh: m\nname: dp\n",
		"plain":  "type: Mesh\nname: m\n",
		"cert":   "type: Secret\nmesh: m\nname: cert\ndata: eA==\n",
		"key":    "type: Secret\nmesh: m\nname: key\ndata: eA==\n",
		"other":  "type: Secret\nmesh: m\nname: other\ndata: eA==\n",
		"abroad": "type: Secret\nmesh: m2\nname: key\ndata: eA==\n",
		"permit": "type: TrafficPermission\nmesh: m\nname: p\nsources: [{match: {kuma.io/service: a}}]\ndestinations: [{match: {kuma.io/service: b}}]\n",
		"merged": "type: MeshTrafficPermission\nmesh: m\nname: p\nspec: {targetRef: {kind: Mesh}, from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}\n",
		"away":   "type: TrafficPermission\nmesh: m2\nname: p\nsources: [{match: {kuma.io/service: a}}]\ndestinations: [{match: {kuma.io/service: b}}]\n",
		"inline": "type: Mesh\nname: m\nlabels: {a: b}\nmtls: {enabledBackend: a, backends: [{name: a, type: builtin}]}\n",
		"mesh": "type: Mesh\nname: m\nlabels: {a: b}\nmtls: {enabledBackend: a, backends: [{name: a, type: provided, " +
			"conf: {cert: {secret: cert}, key: {secret: key}}}]}\n",
	}
	for _, c := range []struct{ in, want string }{
		{"dp plain other", "dp plain other"},
		{"inline cert", "inline cert"},
		{"mesh dp", "mesh dp"},
		{"other mesh dp", "other mesh dp"},
		{"mesh cert key other dp", "bare cert key mesh other dp"},
		{"dp key abroad mesh other cert", "dp bare key cert mesh abroad other"},
		{"plain cert key mesh", "plain bare cert key mesh"},
		{"mesh key mesh", "bare key mesh mesh"},
		{"key mesh key", "bare key key mesh"},
		{"dp inline away permit other merged", "dp bare permit merged inline away other"},
		{"permit inline", "bare permit inline"},
		{"plain permit merged", "plain permit merged"},
		{"mesh permit cert", "bare permit cert mesh"},
	} {
		names := map[policy.Resource]string{}
		var in []policy.Resource
		for name := range strings.FieldsSeq(c.in) {
			r, err := policy.Parse([]byte(docs[name]))
			if err != nil {
				t.Fatal(err)
			}
			names[r], in = name, append(in, r)
		}
		var got []string
		for _, s := range inOrder(in) {
			name := names[s.resource]
			if s.bare {
				name = "bare"
				m := s.resource.(*policy.Mesh)
				if m.MTLS != nil || m.Labels["a"] != "b" {
					t.Errorf("%s: the bare Mesh is %+v", c.in, m)
				}
			}
			got = append(got, name)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", c.in, diff)
		}
	}
}
