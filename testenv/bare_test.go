package testenv_test

import (
	"fmt"
	"testing"

	"koguma/testenv"
)

// An Envoy without an agent takes part in the mesh, over either variant of ADS: it gets its identity, lets nobody in
// until a permission says so, and follows when that changes.
func TestBareEnvoys(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	for variant, delta := range map[string]bool{"sotw": false, "delta": true} {
		service, client := "backend-"+variant, "web-"+variant
		backend := m.StartBare(testenv.Proxy{Serves: []string{service, "db-" + variant + ":tcp"}}, delta)
		web := m.StartBare(testenv.Proxy{Serves: []string{client}, Dials: []string{service, "db-" + variant}}, delta)
		http, tcp := web.Out(service), web.Out("db-"+variant)
		what := func(of string) string { return fmt.Sprintf("%s over %s", of, variant) }
		settles(t, what("requests"), http, denied)
		settles(t, what("connections"), tcp, closed)
		m.Permit(variant, client, service)
		settles(t, what("requests"), http, allowed)
		settles(t, what("connections"), tcp, closed)
		m.Permit(variant, client, "db-"+variant)
		settles(t, what("connections"), tcp, open)
		settles(t, what("requests"), http, denied)
		for i, s := range []string{service, "db-" + variant} {
			chain, err := testenv.ServerChain(t.Context(), backend.In(s), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(t, chain, m.Roots("default"), "spiffe://default/"+s); err != nil {
				t.Errorf("inbound %d over %s: %v", i, variant, err)
			}
		}
	}
}
