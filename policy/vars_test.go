package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// A variable is one scalar of the type that its field has, whatever its value contains.
func TestVarsFill(t *testing.T) {
	t.Parallel()
	const doc = `# {{ unused }} {{#section}} {{
type: Dataplane
mesh: {{mesh}}
name: dp-{{ id }}-{{ id }}
labels:
  whole: {{ text }}
  part: 'a {{ text }} b'
  lines: |-
    {{ text }} # {{ id }}
networking:
  address: {{ net.address }} # {{ nobody }}
  inbound:
  - port: {{ port }}
    servicePort: "{{ port }}"
    health: {ready: {{ ready }}}
    tags: {kuma.io/service: {{ mesh }}}
`
	for _, text := range []string{
		"plain", "", "no", "~", "12", "x\nmesh: other", `"}`, "}", "'", "{{ id }}", "{{", "# not a comment", ": ", "- a", "&a", "*a",
		"!!str x", "\\", "a\tb", "---\ntype: Mesh", "\u00fc\u2028\U000F0000\uE000", "<<", "$(id)", " blanks ",
	} {
		r, err := policy.ParseVars([]byte(doc), map[string]string{
			"mesh": "default", "id": "1", "text": text, "net.address": "10.0.0.1", "port": "8080", "ready": "true",
		})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		want := &policy.Dataplane{
			Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: "dp-1-1", Labels: map[string]string{
				"whole": text, "part": "a " + text + " b", "lines": text + " # 1",
			}},
			Networking: policy.Networking{Address: "10.0.0.1", Inbound: []policy.Inbound{{
				Port: 8080, ServicePort: 8080, Health: &policy.Health{Ready: true},
				Tags: map[string]string{policy.TagService: "default"},
			}}},
		}
		if diff := cmp.Diff(policy.Resource(want), r); diff != "" {
			t.Error(diff)
		}
	}
}

// JSON takes variables inside of its quotes.
func TestVarsInJSON(t *testing.T) {
	t.Parallel()
	const doc = `{"type":"Dataplane","name":"{{ n }}","networking":{"address":"{{ a }}","inbound":[{"port":"{{ p }}","tags":{}}]}}`
	r, err := policy.ParseVars([]byte(doc), map[string]string{"n": `a","mesh":"b`, "a": "::1", "p": "80"})
	if err != nil {
		t.Fatal(err)
	}
	if d := r.(*policy.Dataplane); d.Name != `a","mesh":"b` || d.Networking.Address != "::1" || d.Networking.Inbound[0].Port != 80 {
		t.Errorf("got %+v", d)
	}
}

// What base64(1) wraps still is one value.
func TestVarsSecret(t *testing.T) {
	t.Parallel()
	doc := "\ntype: Secret\nmesh: default\nname: s\ndata: {{ revocations }}"
	all, err := policy.ParseAll([]byte(doc), map[string]string{"revocations": "YWJj\nZGVm\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(all[0].(*policy.Secret).Data); got != "abcdef" {
		t.Errorf("got %q", got)
	}
}

// Anything but a plain variable with a value is refused by name.
func TestVarsRefuses(t *testing.T) {
	t.Parallel()
	const head = "type: Mesh\n"
	for _, test := range []struct{ doc, want string }{
		{"name: {{ other }}", `line 2, column 7: variable "other" has no value: give one by --var other=VALUE`},
		{"name: x", `variable "a" is given but not used`},
		{"name: x # {{ a }}", `variable "a" is given but not used`},
		{"name: '{{#a}}'", `"{{#a}}" is no variable`},
		{"name: {{/a}}", `"{{/a}}" is no variable`},
		{"name: {{^a}}", `is no variable`},
		{"name: {{> /etc/passwd}}", `"{{> /etc/passwd}}" is no variable`},
		{"name: {{{a}}}", `"{{{a}}}" is no variable`},
		{"name: {{&a}}", `is no variable`},
		{"name: {{! a}}", `is no variable`},
		{"name: {{=<% %>=}}", `is no variable`},
		{"name: {{}}", `"{{}}" is no variable`},
		{"name: {{ a b }}", `is no variable`},
		{"name: {{ a", `"{{" is no variable`},
		{"name: {{ a }} }}", ""},
		{"{{ a }}: x", `line 2, column 1: a variable can stand for a value, not for the name of a field`},
		{"labels: {{ a }}", `labels: must be an object, not a variable`},
		{"mtls: {backends: {{ a }}}", `mtls.backends: must be a list, not a variable`},
		{"name: &{{ a }} x", "not YAML"},
		{"name: x{{ a }} \uE000", `line 2: private use character U+E000`},
		{"name: x{{ a }}\nbad: 1", `line 3, column 1: unknown field "bad"`},
		{"labels: {x: {{ a }}, z: 1}", `line 2, column 25: labels.z: "1" is a number: quote it`},
	} {
		_, err := policy.ParseVars([]byte(head+test.doc), map[string]string{"a": "va:lue"})
		if got := message(err); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.doc, got, test.want)
		}
	}
	if _, err := policy.ParseVars([]byte(head+"name: {{ a }}"), map[string]string{"a": "\xff"}); !strings.Contains(message(err), "not UTF-8") {
		t.Errorf("got %v", err)
	}
	port := "type: Dataplane\nnetworking: {inbound: [{port: {{ a }}}]}"
	if _, err := policy.ParseVars([]byte(port), map[string]string{"a": "80a"}); !strings.Contains(message(err), "port: must be a whole number") {
		t.Errorf("got %v", err)
	}
	if _, err := policy.ParseVars([]byte(head+"name: {{ a }}"), nil); !strings.Contains(message(err), `"a" has no value`) {
		t.Errorf("got %v", err)
	}
	if _, err := policy.ParseAll([]byte(head+"name: '{{ a }}'"), nil); err != nil {
		t.Errorf("a file without variables: %v", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
