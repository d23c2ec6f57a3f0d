package main

import (
	"strings"
	"testing"

	"koguma/policy"
)

const partly = `{"mesh":"default","from":{"kind":"service","name":"web"},"to":{"kind":"service","name":"backend"},"verdict":"partly","more":7,
"notes":["\"web\" is a service and a proxy"],"pairs":[
 {"from":"web-1","as":"web","to":"backend-1","service":"backend","port":8080,"allowed":false,
  "cause":{"code":"no-permission","why":"no \u001b[31m TrafficPermission","next":"apply it","permission":"type: TrafficPermission\nname: p\n"}},
 {"from":"web-2","as":"web","to":"backend-1","service":"backend","port":8080,"allowed":true,"cause":{"code":"permitted","why":"sources[0]"},
  "warnings":[{"code":"no-outbound","why":"it has none","next":"apply it"},
   {"code":"no-permission","why":"soon","next":"apply it","permission":"type: TrafficPermission\nname: p\n"}]}],"aFieldOfTomorrow":1}`

func TestConnectionSheet(t *testing.T) {
	t.Parallel()
	var c policy.Connection
	if err := policy.DecodeOpen([]byte(partly), &c); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := writeConnection(&out, &c); err != nil {
		t.Fatal(err)
	}
	want := `service:web to service:backend in mesh default: partly
Note: "web" is a service and a proxy

FROM    AS    TO          SERVICE   PORT   VERDICT   CAUSE           WHY
web-1   web   backend-1   backend   8080   denied    no-permission   no \x1b[31m TrafficPermission
web-2   web   backend-1   backend   8080   allowed   permitted       sources[0]
                                           warning   no-outbound     it has none
                                           warning   no-permission   soon
and 7 more pairs

Next, for no-permission: apply it
Next, for no-outbound: apply it

# for kumactl apply -f -
type: TrafficPermission
name: p
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The code is 0 only if all of it is allowed.
func TestConnectionCode(t *testing.T) {
	t.Parallel()
	for verdict, code := range map[string]int{"allowed": 0, "partly": 1, "denied": 1} {
		address := serve(t, map[string]string{"GET /meshes/default/connections": strings.Replace(partly, `"partly"`, `"`+verdict+`"`, 1)})
		for _, format := range []string{"table", "yaml", "json"} {
			got := kumactl(t, address, "inspect", "connection", "--from=web", "--to=backend", "-o", format)
			if got.code != code || got.stdout == "" || (got.stderr == "") != (code == 0) {
				t.Errorf("%s as %s: code %d\n%s%s", verdict, format, got.code, got.stdout, got.stderr)
			}
		}
	}
	address := serve(t, nil)
	for args, code := range map[string]int{
		"--from=web":                            2,
		"--to=web":                              2,
		"--from=web --to=backend --port=http":   2,
		"--from=web --to=backend extra":         2,
		"--from=web --to=backend -o xml":        2,
		"--from=web --to=backend --mesh ../x":   1,
		"--from=web --to=backend":               1,
		"--from=web --to=backend -m=somewhere.": 1,
	} {
		if got := kumactl(t, address, append([]string{"inspect", "connection"}, strings.Fields(args)...)...); got.code != code {
			t.Errorf("%s: code %d, want %d\n%s", args, got.code, code, got.stderr)
		}
	}
}
