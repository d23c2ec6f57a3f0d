package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// The mode comes first, then who came without mTLS; what nobody has reported of is not zero.
func TestInspectMTLS(t *testing.T) {
	t.Parallel()
	const state = `{"mesh":"m2","mode":"PERMISSIVE","backend":"ca-1","total":2,"news":1,"items":[
		{"proxy":"web-1","service":"web","address":"10.0.0.1:80","connections":3,"requests":4,"foreignTLS":1,
		 "since":"2020-01-01T00:00:00Z"},
		{"proxy":"web-2\u001b[31m","service":"web","address":"10.0.0.2:80","connections":0,"requests":0,"foreignTLS":0}]}`
	address := serve(t, map[string]string{"GET /meshes/m2/_mtls": state})
	got := kumactl(t, address, "inspect", "mtls", "-m", "m2")
	want := "mesh m2: mTLS PERMISSIVE, backend ca-1\n" +
		"PROXY           SERVICE   ADDRESS       PLAINTEXT   REQUESTS   FOREIGN TLS   SINCE   LAST SEEN\n" +
		"web-1           web       10.0.0.1:80   3           4          1             6y      never\n" +
		`web-2\x1b[31m   web       10.0.0.2:80   -           -          -             -       -` + "\n"
	if diff := cmp.Diff(want, got.stdout); diff != "" || got.code != 0 {
		t.Errorf("exit code %d %s (-want +got):\n%s", got.code, got.stderr, diff)
	}
	got = kumactl(t, address, "inspect", "mtls", "-m", "m2", "-o", "json")
	var m policy.MeshMTLS
	if err := policy.Decode([]byte(got.stdout), &m); err != nil || m.Total != 2 || m.Items[0].Connections != 3 {
		t.Errorf("%v %+v", err, m)
	}
}
