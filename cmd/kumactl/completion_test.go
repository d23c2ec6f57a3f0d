package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/testenv/helptest"
)

// completing runs kumactl as a shell does that completes a command line, with a configuration.
func completing(t *testing.T, config string) func(args ...string) string {
	return func(args ...string) string {
		var stdout bytes.Buffer
		if code := run(t.Context(), slices.Insert(args, 1, "--config-file", config), strings.NewReader(""), &stdout, io.Discard); code != 0 {
			t.Errorf("%q: code %d", args, code)
		}
		return stdout.String()
	}
}

// The shell is offered what there is: commands, words, and the names that the control plane knows. What could not be a name is
// none.
func TestCompletion(t *testing.T) {
	t.Parallel()
	page := func(items string) string { return `{"total":2,"items":[` + items + `],"next":null}` }
	cp := serve(t, map[string]string{
		"GET /meshes":                                page(`{"type":"Mesh","name":"default"},{"type":"Mesh","name":"other"}`),
		"GET /meshes/other/dataplanes":               page(`{"type":"Dataplane","mesh":"other","name":"web-1"},{"type":"Dataplane","mesh":"other","name":"$(reboot)"}`),
		"GET /meshes/other/secrets":                  page(`{"type":"Secret","mesh":"other","name":"key"}`),
		"GET /meshes/default/meshtrafficpermissions": page(`{"type":"MeshTrafficPermission","mesh":"default","name":"all"}`),
	})
	file := configFor(t, cp)
	tests := []struct {
		words []string
		want  string
		files bool
	}{
		{[]string{"ro"}, "rotate", false},
		{[]string{"get", "meshes", "-o", ""}, "table yaml json", false},
		{[]string{"get", "dataplane", "--mesh", ""}, "default other", false},
		{[]string{"get", "dataplane", "--mesh", "other", ""}, "web-1", false},
		{[]string{"get", "dataplane", "--mesh", "other", "web-1", ""}, "", false},
		{[]string{"get", "mesh", "d"}, "default", false},
		{[]string{"inspect", "identity", "-m", "other", ""}, "web-1", false},
		{[]string{"inspect", "dataplane", "-m", "other", ""}, "web-1", false},
		{[]string{"inspect", "mesh", "o"}, "other", false},
		{[]string{"inspect", "meshtrafficpermission", ""}, "all", false},
		{[]string{"inspect", "identity", "-m", "absent", ""}, "", false},
		{[]string{"delete", "se"}, "secret", false},
		{[]string{"delete", "secret", "--mesh", "other", ""}, "key", false},
		{[]string{"delete", "nonsense", ""}, "", false},
		{[]string{"apply", "-f", ""}, "", true},
	}
	for _, test := range tests {
		got, files := helptest.Offered(t, completing(t, file), test.words...)
		if strings.Join(got, " ") != test.want || files != test.files {
			t.Errorf("%q: %q, files %v", test.words, got, files)
		}
	}
}

// Nobody waits for a control plane that does not answer.
func TestCompletionIsSoon(t *testing.T) {
	t.Parallel()
	cp := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	begin := time.Now()
	got, _ := helptest.Offered(t, completing(t, configFor(t, cp)), "get", "mesh", "")
	if took := time.Since(begin); len(got) > 0 || took > offerTime+10*time.Second {
		t.Errorf("%q after %v", got, took)
	}
}
