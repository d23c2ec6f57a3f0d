package testenv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/testenv"
	"koguma/token"
)

// jti is the id of a token.
func jti(t *testing.T, raw token.Raw) string {
	t.Helper()
	claims, err := token.Inspect(raw)
	if err != nil {
		t.Fatal(err)
	}
	return claims.ID
}

// replace puts a token into a file by renaming another one.
func replace(t *testing.T, file string, raw token.Raw) {
	t.Helper()
	if err := os.WriteFile(file+".next", []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
}

// withTokenFile starts a proxy whose token the test changes, in the file that it returns.
func withTokenFile(t *testing.T, m *testenv.Mesh, p testenv.Proxy, raw token.Raw) (s *testenv.Sidecar, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "token")
	replace(t, file, raw)
	p.Args = append(p.Args, "--dataplane-token-file="+file)
	s = m.Prepare(p)
	s.Launch()
	return s, file
}

// ready is what the agent answers at /ready.
func ready(t *testing.T, s *testenv.Sidecar) string {
	t.Helper()
	status, body, err := testenv.Get(t.Context(), "http://"+readiness(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(status, " ", body)
}

// usesToken waits for the agent to be let in with a token, for so long at most.
func usesToken(t *testing.T, s *testenv.Sidecar, raw token.Raw, within time.Duration) {
	t.Helper()
	id := jti(t, raw)
	eventually(t, within, s.Dataplane.Name+" to use the new token", func() error {
		for line := range strings.Lines(s.Output()) {
			if strings.Contains(line, "connected to the control plane\"") && strings.Contains(line, id) {
				return nil
			}
		}
		return fmt.Errorf("it does not")
	})
}

// online is nil if the control plane shows so many proxies, all of them online.
func online(m *testenv.Mesh, n int) error {
	out := m.Kumactl("inspect", "dataplanes")
	if got := strings.Count(out, "Online"); got != n {
		return fmt.Errorf("%d proxies are online, want %d:\n%s", got, n, out)
	}
	return nil
}

// Twenty tokens one after the other, on both sides, are noticed by no request; nothing is made anew, and nobody is seen
// to be away.
func TestTokenRotationUnderLoad(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("web-to-backend", "web", "backend")
	backend, backendFile := withTokenFile(t, m, testenv.Proxy{Serves: []string{"backend"}}, m.Token("default", "backend-1", "backend"))
	web, webFile := withTokenFile(t, m, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}}, m.Token("default", "web-1", "web"))
	sides, files := []*testenv.Sidecar{backend, web}, []string{backendFile, webFile}
	backend.AwaitReady()
	web.AwaitReady()
	settles(t, "web's requests", web.Out("backend"), allowed)
	before := []string{serial(t, backend.In("backend")), serial(t, web.In("web"))}
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 200)
	for range 10 {
		for i, s := range sides {
			raw := m.Token("default", s.Dataplane.Name, s.Dataplane.Services()...)
			replace(t, files[i], raw)
			usesToken(t, s, raw, 2*time.Second)
			if err := online(m, 2); err != nil {
				t.Error(err)
			}
		}
	}
	m.Permit("web-to-backend", "web other", "backend") // which the streams of the last tokens bring
	other := dialer{serverName: "other.backend.default", cert: m.Identity("default", "other")}
	eventually(t, 10*time.Second, "the change to arrive", func() error {
		if got := other.httpAnswer(t.Context(), backend.In("backend")); got != allowed {
			return fmt.Errorf("other gets %s", got)
		}
		return nil
	})
	noneLost(t, load, 200)
	if after := []string{serial(t, backend.In("backend")), serial(t, web.In("web"))}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("the serials are %v, and were %v", after, before)
	}
	// One for each of the two, and that of other.
	if n, err := m.Metric("koguma_certificates_issued_total"); err != nil || n != "3" {
		t.Errorf("%s certificates were issued, %v, want 3", n, err)
	}
	for _, s := range sides {
		if strings.Contains(s.Output(), "not connected") || strings.Contains(s.Output(), "eyJ") {
			t.Errorf("%s was not connected for a while, or has a token in its log", s.Dataplane.Name)
		}
	}
}

// Whatever happens to the file, the stream that lives goes on, and so do requests; a good token ends it, however it came.
func TestTokenFileIsSpoilt(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	s, file := withTokenFile(t, m, testenv.Proxy{Serves: []string{"backend"}}, m.Token("default", "backend-1", "backend"))
	s.AwaitReady()
	load := testenv.StartLoad(t.Context(), s.In("backend"), 50)
	for _, fault := range []struct {
		says  string
		spoil func() error
	}{
		{"is empty", func() error { return os.Truncate(file, 0) }},
		{"cannot be read", func() error { return os.WriteFile(file, []byte("hunter2"), 0o600) }},
		{"more than 8192 bytes", func() error { return os.Truncate(file, 1<<30) }},
		{"no such file", func() error { return os.Remove(file) }},
		{"not a regular file", func() error { return syscall.Mkfifo(file, 0o600) }},
		{"no such file", func() error { return os.Remove(file) }},
		{"not a regular file", func() error { return os.Mkdir(file, 0o700) }},
		{"no such file", func() error { return os.Remove(file) }},
	} {
		if err := fault.spoil(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, "the agent to say that the file "+fault.says, func() error {
			if body := ready(t, s); !strings.HasPrefix(body, "200 READY\n") || !strings.Contains(body, fault.says) {
				return fmt.Errorf("/ready says %q", body)
			}
			return nil
		})
	}
	if err := online(m, 1); err != nil {
		t.Error(err)
	}
	// Back in two halves, and then as a secret is mounted.
	next := m.Token("default", s.Dataplane.Name, "backend")
	half := len(next) / 2
	if err := os.WriteFile(file, []byte(next[:half]), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	usesToken(t, s, next, 2*time.Second)
	for i := range 2 {
		next = m.Token("default", s.Dataplane.Name, "backend")
		mount(t, file, fmt.Sprint("..", i), next)
		usesToken(t, s, next, 2*time.Second)
	}
	if body := ready(t, s); body != "200 READY\n" {
		t.Errorf("/ready says %q", body)
	}
	noneLost(t, load, 50)
	if strings.Contains(s.Output(), "not connected") || strings.Contains(s.Output(), "hunter2") {
		t.Error("the stream ended, or what was in the file is in the log")
	}
}

// mount puts a token where file is, as a link to a link to a version, which is swapped.
func mount(t *testing.T, file, version string, raw token.Raw) {
	t.Helper()
	dir := filepath.Dir(file)
	err := os.Mkdir(filepath.Join(dir, version), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, version, "token"), []byte(raw), 0o600)
	}
	if err == nil {
		err = os.Symlink(version, filepath.Join(dir, "..next"))
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Readlink(file); err == nil {
		return // it leads through ..data already
	}
	if err := os.Symlink("..data/token", file+".link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".link", file); err != nil {
		t.Fatal(err)
	}
}
