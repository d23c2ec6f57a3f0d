package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"koguma/policy"
)

// mtp reads a MeshTrafficPermission whose spec is that YAML.
func mtp(t *testing.T, name, spec string) *policy.MeshTrafficPermission {
	t.Helper()
	text := fmt.Sprintf("type: MeshTrafficPermission\nmesh: default\nname: %s\nspec:\n  %s\n", name, strings.ReplaceAll(spec, "\n", "\n  "))
	r, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return r.(*policy.MeshTrafficPermission)
}

// allowAll is a from that lets everybody in.
const allowAll = "from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]"

// What can be enforced is accepted, with all the fields that people have.
func TestMeshTrafficPermissionAccepted(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{
		allowAll,
		"targetRef: {kind: Mesh, proxyTypes: [Sidecar]}\n" + allowAll,
		"targetRef: {kind: Mesh, proxyTypes: [Sidecar, Gateway]}\n" + allowAll,
		"targetRef: {kind: MeshSubset, tags: {kuma.io/service: backend, version: \"*\"}}\n" + allowAll,
		"targetRef: {kind: MeshService, name: backend}\n" + allowAll,
		"targetRef: {kind: MeshServiceSubset, name: backend, tags: {version: \"1\"}}\n" + allowAll,
		"targetRef: {kind: Dataplane}\n" + allowAll,
		"targetRef: {kind: Dataplane, name: backend-1, sectionName: \"8080\"}\n" + allowAll,
		"targetRef: {kind: Dataplane, labels: {app: backend}}\n" + allowAll,
		"from: [{targetRef: {kind: MeshSubset, tags: {env: dev}}, default: {action: Deny}}]",
		"from: [{targetRef: {kind: MeshServiceSubset, name: web, tags: {env: dev}}, default: {action: AllowWithShadowDeny}}]",
		"rules: [{default: {deny: [{spiffeID: {type: Exact, value: spiffe://default/web}}]}}]",
		"rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://default}}]}}]",
		"rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://default/}}]}}]",
		"rules: [{default: {allowWithShadowDeny: [{spiffeID: {type: Prefix, value: spiffe://default/web-}}]}}]",
	} {
		if err := mtp(t, "p", spec).Validate(); err != nil {
			t.Errorf("%s\n%v", spec, err)
		}
	}
}

// What cannot be enforced is refused, by the name of its field, with what to write instead.
func TestMeshTrafficPermissionRefused(t *testing.T) {
	t.Parallel()
	target := func(ref string) string { return "targetRef: " + ref + "\n" + allowAll }
	from := func(ref string) string { return "from: [{targetRef: " + ref + ", default: {action: Allow}}]" }
	id := func(kind, value string) string {
		return fmt.Sprintf("rules: [{default: {deny: [{spiffeID: {type: %s, value: %q}}]}}]", kind, value)
	}
	for _, c := range []struct{ spec, field, why string }{
		{"{}", "spec", "must have from or rules"},
		{"from: []\nrules: []", "spec", "must have from or rules"},
		{allowAll + "\nrules: [{default: {deny: [{spiffeID: {type: Exact, value: spiffe://default/web}}]}}]", "spec", "has from and rules: write two"},
		{"from: [{targetRef: {kind: Mesh}, default: {}}]", "spec.from[0].default.action", "must be one of Allow, Deny"},
		{"from: [{targetRef: {kind: Mesh}, default: {action: ALLOW}}]", "spec.from[0].default.action", "must be one of Allow, Deny"},
		{from("{kind: Dataplane, name: web-1}"), "spec.from[0].targetRef.kind", "write MeshSubset with tags, or MeshService"},
		{from("{kind: MeshGateway, name: edge}"), "spec.from[0].targetRef.kind", "must be one of Mesh, MeshSubset, MeshService, MeshServiceSubset"},
		{from("{kind: Mesh, proxyTypes: [Sidecar]}"), "spec.from[0].targetRef.proxyTypes", "leave it out"},
		{from("{kind: MeshService}"), "spec.from[0].targetRef.name", "must be given"},
		{from("{kind: MeshService, name: a/b}"), "spec.from[0].targetRef.name", "to be part of a SPIFFE ID"},
		{from("{kind: MeshService, name: \"*\"}"), "spec.from[0].targetRef.name", "to be part of a SPIFFE ID"},
		{from("{kind: MeshSubset}"), "spec.from[0].targetRef.tags", "must have at least one tag"},
		{from("{kind: MeshSubset, tags: {k8s.kuma.io/namespace: a}}"), `spec.from[0].targetRef.tags["k8s.kuma.io/namespace"]`, "reserved"},
		{from("{kind: MeshServiceSubset, name: a, tags: {kuma.io/service: b}}"), `spec.from[0].targetRef.tags["kuma.io/service"]`, "leave it out"},
		{target("{kind: MeshHTTPRoute, name: r}"), "spec.targetRef.kind", `"MeshHTTPRoute" cannot be enforced here`},
		{target("{kind: MeshGateway, name: r}"), "spec.targetRef.kind", "must be one of Mesh, Dataplane"},
		{target("{kind: Mesh, proxyTypes: [Gateway]}"), "spec.targetRef.proxyTypes", "name Sidecar"},
		{target("{kind: Mesh, proxyTypes: [Sidecars]}"), "spec.targetRef.proxyTypes[0]", "must be Sidecar or Gateway"},
		{target("{kind: Mesh, name: m}"), "spec.targetRef.name", "leave it out"},
		{target("{kind: Mesh, mesh: other}"), "spec.targetRef.mesh", "leave it out"},
		{target("{kind: Mesh, tags: {a: b}}"), "spec.targetRef.tags", "write kind MeshSubset"},
		{target("{kind: MeshService, name: a, labels: {a: b}}"), "spec.targetRef.labels", "only a Dataplane is"},
		{target("{kind: MeshService, name: a, namespace: b}"), "spec.targetRef.namespace", "leave it out"},
		{target("{kind: MeshService, name: a, sectionName: http}"), "spec.targetRef.sectionName", "write kind Dataplane"},
		{target("{kind: Dataplane, name: a, labels: {a: b}}"), "spec.targetRef", "leave out one of the two"},
		{target("{kind: Dataplane, sectionName: http}"), "spec.targetRef.sectionName", "must be the port"},
		{target("{kind: Dataplane, sectionName: \"0\"}"), "spec.targetRef.sectionName", "must be the port"},
		{target("{kind: Dataplane, labels: {a b: c}}"), `spec.targetRef.labels["a b"]`, "the name must be"},
		{"rules: [{default: {}}]", "spec.rules[0].default", "must have at least one element"},
		{"rules: [{default: {allow: [{}]}}]", "spec.rules[0].default.allow[0].spiffeID", "must be given"},
		{"rules: [{default: {allow: [{sni: {type: Exact, value: a}}]}}]", "spec.rules[0].default.allow[0].sni", "write spiffeID"},
		{id("Regex", "spiffe://default/web"), "spec.rules[0].default.deny[0].spiffeID.type", "must be Exact or Prefix"},
		{id("Exact", "spiffe://default/"), "spec.rules[0].default.deny[0].spiffeID.value", "nobody in the mesh has such an ID"},
		{id("Exact", "spiffe://default/ns/a/sa/b"), "spec.rules[0].default.deny[0].spiffeID.value", "nobody in the mesh has such an ID"},
		{id("Prefix", "spiffe://default/web/"), "spec.rules[0].default.deny[0].spiffeID.value", "nobody in the mesh has such an ID"},
		{id("Exact", "spiffe://other/web"), "spec.rules[0].default.deny[0].spiffeID.value", "another trust domain"},
		{id("Prefix", "spiffe://default2/web"), "spec.rules[0].default.deny[0].spiffeID.value", "another trust domain"},
		{id("Prefix", "spiffe://def"), "spec.rules[0].default.deny[0].spiffeID.value", "another trust domain"},
		{id("Prefix", ""), "spec.rules[0].default.deny[0].spiffeID.value", "another trust domain"},
	} {
		err := mtp(t, "p", c.spec).Validate()
		if err == nil || !strings.HasPrefix(err.Error(), c.field+": ") || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s\n got %v\nwant %s: %s", c.spec, err, c.field, c.why)
		}
	}
}

// Strangers to the schema are refused by the decoder, wherever they stand.
func TestMeshTrafficPermissionUnknownFields(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"to: []", "targetRef: {kind: Mesh, tag: {}}", "from: [{targetRef: {kind: Mesh}, default: {Action: Allow}}]",
		"rules: [{default: {allow: [{spiffeId: {type: Exact, value: a}}]}}]", "rules: [{matches: []}]"} {
		_, err := policy.Parse([]byte("type: MeshTrafficPermission\nmesh: default\nname: p\nspec:\n  " + spec))
		if err == nil || !strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
