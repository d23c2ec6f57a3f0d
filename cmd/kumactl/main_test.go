package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// result is what a run of kumactl came to.
type result struct {
	code           int
	stdout, stderr string
}

// kumactl runs the command against the control plane at the address.
func kumactl(t *testing.T, address string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append(args, "--config-file", configFor(t, address)), strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// configFor is a configuration file for the control plane at the address.
func configFor(t *testing.T, address string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	cfg := fmt.Sprintf("controlPlanes: [{name: test, coordinates: {apiServer: {url: %q}}}]\n"+
		"contexts: [{name: test, controlPlane: test}]\ncurrentContext: test\n", address)
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve is a control plane that gives canned answers, by method and path.
func serve(t *testing.T, answers map[string]string) string {
	t.Helper()
	return serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			text = `{"status":404,"title":"Could not retrieve a resource","detail":"not found"}`
		}
		io.WriteString(w, text)
	})
}

func serveFunc(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// Scripts rely on telling a typing mistake from a failure.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	cp := serve(t, map[string]string{
		"GET /meshes": `{"total":0,"items":[],"next":null}`,
	})
	tests := []struct {
		args string
		code int
	}{
		{"", 0},
		{"--help", 0},
		{"get --help", 0},
		{"get meshes", 0},
		{"completion bash", 0},
		{"get mesh absent", 1},
		{"get mesh ../secrets", 1},
		{"delete mesh absent", 1},
		{"apply -f absent.yaml", 1},
		{"get meshes --context absent", 1},
		{"config control-planes switch --name absent", 1},
		{"nonsense", 2},
		{"get nonsense", 2},
		{"get mesh", 2},
		{"get meshes extra", 2},
		{"get meshes -o xml", 2},
		{"get meshes --nonsense", 2},
		{"get meshes --log-level loud", 2},
		{"get meshes --size many", 2},
		{"apply", 2},
		{"apply -f x --var novalue", 2},
		{"apply -f x --var a=1 --var a=2", 2},
		{"delete mesh", 2},
		{"delete nonsense x", 2},
		{"generate dataplane-token --valid-for 0", 2},
		{"generate dataplane-token --valid-for -1h", 2},
		{"generate dataplane-token --valid-for 30d", 2},
		{"generate dataplane-token --tag kuma.io/service", 2},
		{"generate dataplane-token --tag kuma.io/service=a,,b", 2},
		{"generate dataplane-token --type dataplane --proxy-type ingress", 2},
		{"generate dataplane-token --kid 1", 2},
		{"generate dataplane-token --signing-key-path absent.pem", 2},
		{"generate dataplane-token --signing-key-path absent.pem --kid 1", 1},
		{"generate dataplane-token --signing-key-path= --kid 1", 1},
		{"generate public-key", 2},
		{"generate public-key --signing-key-path absent.pem", 1},
		{"generate signing-key", 0},
		{"generate signing-key --format der", 2},
		{"delete mesh x --force", 2},
		{"revoke dataplane-token", 2},
		{"revoke dataplane-token --jti a --token-file b", 2},
		{"revoke dataplane-token --token-file absent", 1},
		{"rotate nonsense", 2},
		{"rotate signing-key --mesh ../x", 1},
		{"config control-planes add --name x", 2},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			got := kumactl(t, cp, strings.Fields(test.args)...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d\n%s", got.code, test.code, got.stderr)
			}
			if (got.stderr == "") != (test.code == 0) {
				t.Errorf("stderr %q with exit code %d", got.stderr, got.code)
			}
			if test.code == 2 && !strings.Contains(got.stderr, "--help' for usage") {
				t.Errorf("no word on how to get help: %q", got.stderr)
			}
		})
	}
}
