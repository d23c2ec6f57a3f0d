package testenv_test

import (
	"testing"

	"koguma/testenv"
)

// A proxy for several services shows at each inbound the identity of that service, and lets in whom that service's
// permission names. Towards others it is its first service.
func TestServicesOfOneProxy(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	all := m.Start(
		testenv.Proxy{Name: "dp-echo-1", Serves: []string{"backend", "backend-admin"}, Dials: []string{"log"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend", "backend-admin"}},
		testenv.Proxy{Serves: []string{"log"}},
	)
	echo, web := all[0], all[1]
	for _, service := range []string{"backend", "backend-admin"} {
		chain, err := testenv.ServerChain(t.Context(), echo.In(service), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, chain, m.Roots("default"), "spiffe://default/"+service); err != nil {
			t.Errorf("inbound of %s: %v", service, err)
		}
	}
	settles(t, "web's requests to backend", web.Out("backend"), denied)
	m.Permit("to-backend", "web", "backend")
	settles(t, "web's requests to backend", web.Out("backend"), allowed)
	settles(t, "web's requests to backend-admin", web.Out("backend-admin"), denied)
	m.Permit("to-admin", "web", "backend-admin")
	settles(t, "web's requests to backend-admin", web.Out("backend-admin"), allowed)
	m.Forbid("to-backend")
	settles(t, "web's requests to backend", web.Out("backend"), denied)
	settles(t, "web's requests to backend-admin", web.Out("backend-admin"), allowed)

	m.Permit("to-log", "backend-admin", "log")
	settles(t, "requests of the proxy to log", echo.Out("log"), denied)
	m.Permit("to-log", "backend", "log")
	settles(t, "requests of the proxy to log", echo.Out("log"), allowed)
}
