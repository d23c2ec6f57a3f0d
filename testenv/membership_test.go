package testenv_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// constrain gives the mesh constraints, in YAML; "" takes them away.
func constrain(m *testenv.Mesh, constraints string) (output string) {
	yaml, _, _ := strings.Cut(m.Kumactl("get", "mesh", "default", "-o=yaml"), "\nconstraints:")
	return m.Kumactl("apply", "-f", m.File(yaml+"\n"+constraints))
}

// Who may no longer be in the mesh is put out at once: nobody is sent to it, and nobody lets it in, on open connections
// either. The others go on, and it is back when it may be again.
func TestPutOutOfTheMesh(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	dials := []string{"backend", "db", "web"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials[:2], Tags: map[string]string{"env": "dev"}},
		testenv.Proxy{Serves: []string{"api"}, Dials: dials, Tags: map[string]string{"env": "prod"}},
	)
	web, api := all[1], all[2]
	for _, to := range dials {
		m.Permit("to-"+to, "web api", to)
	}
	for _, s := range []*testenv.Sidecar{web, api} {
		settles(t, "requests to backend", s.Out("backend"), allowed)
		settles(t, "connections to db", s.Out("db"), open)
	}
	settles(t, "requests to web", api.Out("web"), allowed)
	cut := hold(t, web.Out("db"))
	load := testenv.StartLoad(t.Context(), api.Out("backend"), 50)

	begin := time.Now()
	constrain(m, "constraints: {dataplaneProxy: {restrictions: [{tags: {env: dev}}]}}\n")
	eventually(t, time.Until(begin.Add(2*time.Second)), "nobody to be sent to web", func() error {
		if got := httpAnswer(t.Context(), api.Out("web")); !strings.HasPrefix(got, "503") {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	isCut(t, "web's connection", cut, begin, drain+time.Second)
	settles(t, "web's connections to db", web.Out("db"), closed)
	if got := httpAnswer(t.Context(), web.Out("backend")); got == allowed {
		t.Errorf("web is still let in")
	}
	ctx := t.Context()
	if _, err := web.AwaitOutput(ctx, regexp.MustCompile(`(may not be in its mesh)`)); err != nil {
		t.Error(err)
	}
	settles(t, "api's connections to db", api.Out("db"), open)
	noneLost(t, load, 50)

	constrain(m, "")
	eventually(t, 20*time.Second, "web to be back", func() error {
		if got := httpAnswer(t.Context(), web.Out("backend")); got != allowed {
			return fmt.Errorf("web's request: %s", got)
		}
		if got := httpAnswer(t.Context(), api.Out("web")); got != allowed {
			return fmt.Errorf("a request to web: %s", got)
		}
		return nil
	})
}
