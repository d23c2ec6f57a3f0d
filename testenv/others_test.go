package testenv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// Two control planes on one Postgres are one to whoever looks: a proxy may be at either, what is changed at one acts on the
// proxies of the other within a second, and either tells of all. One that is killed is known to be gone when its lease ends.
func TestTwoControlPlanes(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, Postgres: testenv.ServePostgres(t)})
	a := m.CP
	b := m.AddCP()
	at := func(metric string) (n string, err error) {
		m.At(b, func() { n, err = m.Metric(metric) })
		return n, err
	}
	backend := m.Launch(testenv.Proxy{Serves: []string{"backend"}})
	var web *testenv.Sidecar
	m.At(b, func() { web = m.Launch(testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}}) })
	backend.AwaitReady()
	web.AwaitReady()
	settles(t, "web's requests without a permission", web.Out("backend"), denied)

	begin := time.Now()
	m.At(b, func() { m.Permit("web-to-backend", "web", "backend") })
	settles(t, "web's requests", web.Out("backend"), allowed)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a permission acted after %v, want within a second", took)
	}
	for _, cp := range []*testenv.ControlPlane{a, b} {
		m.At(cp, func() {
			if got := m.Kumactl("inspect", "dataplanes"); strings.Count(got, "Online") != 2 {
				t.Errorf("the proxies are\n%s", got)
			}
		})
	}
	m.At(b, func() { m.Kumactl("delete", "traffic-permission", "web-to-backend", "--mesh=default", "--wait") })
	settles(t, "web's requests when the permission is gone", web.Out("backend"), denied)

	begin = time.Now()
	revoke(t, m, web.Token)
	eventually(t, 5*time.Second, "the end of the session", func() error {
		n, err := at("koguma_sessions")
		if err == nil && n != "0" {
			err = fmt.Errorf("%s are connected", n)
		}
		return err
	})
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a revocation at one control plane ended the session at the other after %v, want within a second", took)
	}

	a.Kill()
	begin = time.Now()
	lost := func(state, want string) func() error {
		return func() error {
			n, err := at(fmt.Sprintf("koguma_control_planes{state=%q}", state))
			if err == nil && n != want {
				err = fmt.Errorf("%s are %s", n, state)
			}
			return err
		}
	}
	eventually(t, 3*time.Second, "the other control plane to be missed", lost("unheard", "1"))
	eventually(t, 25*time.Second, "the other control plane to be gone", lost("unheard", "0"))
	if took := time.Since(begin); took < 9*time.Second {
		t.Errorf("it counted as gone after %v, with a lease for 15 seconds", took)
	}
}
