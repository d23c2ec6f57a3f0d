package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"koguma/policy"
)

// Bad input 44: whatever a control plane says, and in whatever form it is shown, a terminal gets nothing to obey.
func TestNothingForTheTerminal(t *testing.T) {
	t.Parallel()
	const odd = `a\u001b[2J\u009b2J\u202e\r`
	answers := map[string]string{
		"/": fmt.Sprintf(`{"product":"Koguma%s","version":"%[1]s","instanceId":"%[1]s"}`, odd),
	}
	commands := []string{"version --detailed"}
	for _, kind := range policy.Kinds() {
		one := fmt.Sprintf(`{"type":%q,"mesh":"%s","name":"%[2]s","labels":{"%[2]s":"%[2]s"}`, kind.Type, odd)
		switch kind.Type {
		case policy.TypeDataplane:
			one += fmt.Sprintf(`,"networking":{"address":"%s","inbound":[{"port":80,"tags":{"%[1]s":"%[1]s"}}]}`, odd)
		case policy.TypeMesh:
			one += fmt.Sprintf(`,"mtls":{"enabledBackend":"%s","backends":[{"name":"%[1]s","type":"%[1]s"}]}`, odd)
		}
		one += "}"
		answers["/"+kind.Path] = `{"total":1,"items":[` + one + `],"next":"http://localhost/?offset=` + odd + `"}`
		answers["/meshes/default/"+kind.Path] = answers["/"+kind.Path]
		answers["/"+kind.Path+"/x"], answers["/meshes/default/"+kind.Path+"/x"] = one, one
		for _, format := range []string{"table", "json", "yaml"} {
			commands = append(commands, "get "+kind.Plural+" -o "+format, "get "+kind.Singular+" x -o "+format)
		}
	}
	address := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			text = `{"status":400,"title":"` + odd + `","detail":"` + odd + `"}`
		}
		io.WriteString(w, text)
	})
	for _, command := range append(commands, "get mesh y", "inspect dataplanes", "delete mesh y", "export") {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			got := kumactl(t, address, strings.Fields(command)...)
			all := got.stdout + got.stderr
			if i := strings.IndexAny(all, "\x1b\u009b\u202e\r"); i >= 0 {
				t.Errorf("%q is sent to the terminal", all)
			}
			if !strings.Contains(all, `2J`) {
				t.Errorf("nothing of what was said is shown: %q", all)
			}
		})
	}
}
