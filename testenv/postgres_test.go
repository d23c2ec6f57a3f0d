package testenv_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"koguma/testenv"
)

// putPermission has the API write what permits nobody anything that is not permitted yet.
func putPermission(t *testing.T, m *testenv.Mesh, name string) *http.Response {
	t.Helper()
	body := fmt.Sprintf(`{"type":"TrafficPermission","mesh":"default","name":%q,"sources":[{"match":{"kuma.io/service":"web"}}],`+
		`"destinations":[{"match":{"kuma.io/service":"backend"}}]}`, name)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, m.CP.API+"/meshes/default/traffic-permissions/"+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// answers waits for the URL to answer with that status, and these words.
func answers(t *testing.T, within time.Duration, url string, status int, words string) {
	t.Helper()
	eventually(t, within, url, func() error {
		got, body, err := testenv.Get(t.Context(), url)
		if err == nil && (got != status || !strings.Contains(body, words)) {
			err = fmt.Errorf("it is %d %s", got, body)
		}
		return err
	})
}

// away checks that the control plane says that its store is away, takes no change, and goes on with two proxies.
func away(t *testing.T, m *testenv.Mesh) {
	t.Helper()
	begun := time.Now()
	resp := putPermission(t, m, "late")
	if took := time.Since(begun); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || took > 6*time.Second {
		t.Errorf("a change is answered %s, Retry-After %q, after %v", resp.Status, resp.Header.Get("Retry-After"), took)
	}
	answers(t, 6*time.Second, m.CP.Diagnostics+"/ready", http.StatusServiceUnavailable, "the store does not answer")
	answers(t, time.Second, m.CP.API+"/meshes/default/dataplanes", http.StatusOK, "backend-1")
	answers(t, time.Second, m.CP.Diagnostics+"/metrics", http.StatusOK, "koguma_store_up 0")
	if got := m.Kumactl("inspect", "dataplanes"); strings.Count(got, "Online") != 2 {
		t.Errorf("the proxies are\n%s", got)
	}
}

// back checks that it takes changes again, and soon.
func back(t *testing.T, m *testenv.Mesh, name string) {
	t.Helper()
	answers(t, 5*time.Second, m.CP.Diagnostics+"/ready", http.StatusOK, "OK")
	answers(t, time.Second, m.CP.Diagnostics+"/metrics", http.StatusOK, "koguma_store_up 1")
	if resp := putPermission(t, m, name); resp.StatusCode != http.StatusCreated {
		t.Errorf("a change is answered %s", resp.Status)
	}
}

// A mesh whose store is in a Postgres works as one in a file does. When Postgres ends, or stalls, nobody who talks misses
// anything, with a control plane that was restarted before. It says that it takes no changes, and takes them again by itself.
func TestMeshOnPostgres(t *testing.T) {
	t.Parallel()
	p := testenv.ServePostgres(t)
	m, backend, web := pair(t, testenv.Options{Postgres: p})
	before := serial(t, backend.In("backend"))
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 100)
	m.CP.Kill()
	m.StartCP()
	eventually(t, 15*time.Second, "both proxies to be back", func() error {
		n, err := m.Metric("koguma_sessions")
		if err == nil && n != "2" {
			err = fmt.Errorf("%s are", n)
		}
		return err
	})

	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	away(t, m)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back(t, m, "one")
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	away(t, m)
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	back(t, m, "two")

	noneLost(t, load, 300)
	if after := serial(t, backend.In("backend")); after != before {
		t.Errorf("the certificate %s was made anew: %s", before, after)
	}
	resp, err := http.Get(m.CP.API + "/config")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	config, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(config), `"password":"*****"`) {
		t.Errorf("the configuration is %s, %v", config, err)
	}
	for what, text := range map[string]string{"the configuration": string(config), "the log": m.CP.Output()} {
		if strings.Contains(text, "let me in") {
			t.Errorf("%s has the password: %s", what, text)
		}
	}
}
