package main

import (
	"strings"
	"testing"
)

// What this kumactl does not know is not silently missing from an export.
func TestExportOfUnknown(t *testing.T) {
	t.Parallel()
	const (
		types = `{"resources":[{"name":"Mesh","scope":"Global","path":"meshes","includeInFederation":true},` +
			`{"name":"MeshRetry","scope":"Mesh","path":"meshretries","includeInFederation":true,"policy":{"isTargetRef":true}},` +
			`{"name":"MeshInsight","scope":"Global","path":"mesh-insights","readOnly":true}]}`
		index = `{"product":"Koguma","version":"9\u001b[0m"}`
	)
	meshes := func(more string) string {
		return `{"total":1,"items":[{"type":"Mesh","name":"default","creationTime":"2026-01-01T00:00:00Z"` + more + `}],"next":null}`
	}
	cp := serve(t, map[string]string{"GET /_resources": types, "GET /meshes": meshes(""), "GET /": index})
	got := kumactl(t, cp, "export")
	const missing = "not exported: everything of type MeshRetry: this kumactl does not know it"
	if got.code != 0 || !strings.Contains(got.stderr, "Warning: "+missing) || !strings.Contains(got.stdout, "\n# "+missing) {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(got.stdout, "# Product: Koguma, Version: 9\\x1b[0m\n") || !strings.HasSuffix(got.stdout, "\n---\ntype: Mesh\nname: default\n") {
		t.Errorf("%q", got.stdout)
	}

	cp = serve(t, map[string]string{"GET /_resources": types, "GET /meshes": meshes(`,"routing":{}`), "GET /": index})
	got = kumactl(t, cp, "export")
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "routing") {
		t.Errorf("%+v", got)
	}
}
