package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Who does not answer stands among the others.
func TestInspectControlPlanes(t *testing.T) {
	t.Parallel()
	address := serve(t, map[string]string{"GET /control-planes": `{"total":2,"items":[
		{"instanceId":"one","address":"10.0.0.1:5683","version":"1.2.3","status":"self","since":"2020-01-01T00:00:00Z","proxies":7},
		{"instanceId":"two","address":"10.0.0.2:5683","version":"dev","status":"unheard","since":"2020-01-01T00:00:00Z","proxies":0}]}`})
	got := kumactl(t, address, "inspect", "control-planes")
	want := "INSTANCE   ADDRESS         STATUS    SINCE   PROXIES   VERSION\n" +
		"one        10.0.0.1:5683   self      6y      7         1.2.3\n" +
		"two        10.0.0.2:5683   unheard   6y      0         dev\n"
	if diff := cmp.Diff(want, got.stdout); diff != "" || got.code != 0 {
		t.Errorf("exit code %d %s (-want +got):\n%s", got.code, got.stderr, diff)
	}
}
