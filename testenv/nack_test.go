package testenv_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// What Envoy says when it refuses its configuration is shown to whoever asks for its proxy; and it is gone when what was
// in the way is.
func TestRefusedConfiguration(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("p", "web", "backend")
	backend := m.Launch(testenv.Proxy{Serves: []string{"backend"}})
	occupant, err := net.Listen("tcp", backend.In("backend"))
	if err != nil {
		t.Fatal(err)
	}
	defer occupant.Close()
	web := m.Start(testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}})[0]
	noted := func(want bool) func() error {
		return func() error {
			table := m.Kumactl("inspect", "dataplanes")
			if got := strings.Contains(table, "Address already in use"); got != want {
				return fmt.Errorf("the table is\n%s", table)
			}
			return nil
		}
	}
	eventually(t, 10*time.Second, "the reason to be in NOTES", noted(true))
	if status, body, err := testenv.Get(t.Context(), "http://"+readiness(t, backend)); err != nil || status != 503 {
		t.Errorf("the readiness is %d %s, %v, want 503", status, body, err)
	}
	occupant.Close()
	backend.AwaitReady()
	eventually(t, 10*time.Second, "the reason to be gone", noted(false))
	settles(t, "web's requests", web.Out("backend"), allowed)
}
