package testenv_test

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/token"
)

// command starts kuma-dp with exactly these arguments, in a folder of its own that has the Dataplane of n in a file. What
// a test needs besides is in the environment.
func command(t *testing.T, m *testenv.Mesh, n *testenv.Node, env []string, args ...string) *testenv.Agent {
	t.Helper()
	dir, work := t.TempDir(), filepath.Join(m.Dir(), "run")
	definition, err := policy.EncodeYAML(n.Dataplane)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dp-backend.yaml"), definition, 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := testenv.Binary("kuma-dp")
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := testenv.Envoy()
	if err != nil {
		t.Fatal(err)
	}
	p, err := testenv.Start(testenv.Command{Name: "kuma-dp", Path: binary, Args: args, Dir: dir, Env: append(env,
		"KUMA_DATAPLANE_RUNTIME_BINARY_PATH="+envoy,
		"KUMA_DATAPLANE_RUNTIME_WORK_DIR="+work,
		"KUMA_DATAPLANE_RUNTIME_CONCURRENCY=1",
		"KUMA_DATAPLANE_DRAIN_TIME=0s",
	)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(work); err == nil {
			t.Errorf("%s is left", work)
		}
	})
	return &testenv.Agent{Process: p, Dir: work}
}

// The commands of the specification work as they are written, but for the ports and the paths of files.
func TestCommandsOfTheSpecification(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	m.Permit("all", "web", "*")
	web := dialer{cert: m.Identity("default", "web")}
	n := m.Node(testenv.Proxy{Name: "dp-echo-1", Serves: []string{"backend", "backend-admin"}})
	old := m.File(m.Kumactl("generate", "dataplane-token", "--name", "dp-echo-1", "--mesh", "default",
		"--type", "dataplane", "--tag", "kuma.io/service=backend,backend-admin"))
	today := m.Kumactl("generate", "dataplane-token", "--name", "dp-echo-1", "--mesh", "default",
		"--tag", "kuma.io/service=backend,backend-admin", "--valid-for", "720h")
	works := func(a *testenv.Agent) {
		t.Helper()
		if err := a.AwaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, service := range n.Dataplane.Services() {
			if got := web.httpAnswer(t.Context(), n.In(service)); got != allowed {
				t.Errorf("a request to %s gets %s", service, got)
			}
		}
		if err := a.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	}

	works(command(t, m, n, nil, "run", "--cp-address="+m.CP.DP, "--dataplane-file=dp-backend.yaml",
		"--dataplane-token-file="+m.File(today)))

	inline := command(t, m, n, []string{"KUMA_DATAPLANE_RUNTIME_TOKEN=" + strings.TrimSpace(today)},
		"run", "--cp-address="+m.CP.DP, "--dataplane-file=dp-backend.yaml")
	if err := inline.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	envoys := testenv.Descendants(inline.PID())
	if found, looked, err := testenv.FindSecret(testenv.Places{PIDs: envoys}, strings.TrimSpace(today)); len(found) > 0 || err != nil || looked < 2 {
		t.Errorf("the token is in %v, %v, after a look at %d places", found, err, looked)
	}
	works(inline)

	definition, err := policy.EncodeYAML(n.Dataplane)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(string(definition))
	works(command(t, m, n, nil, "run", "--name=dp-echo-1", "--mesh=default", "--cp-address="+m.CP.API,
		"--dataplane-token-file="+old))
	if list := m.Kumactl("get", "dataplanes"); !strings.Contains(list, "dp-echo-1") {
		t.Errorf("the Dataplane that was applied went with its agent:\n%s", list)
	}
}

// newSigner adds a signing key to the mesh "default", and is a function that signs with it.
func newSigner(t *testing.T, m *testenv.Mesh) func(kid string, key *rsa.PrivateKey, change func(*token.Claims)) string {
	t.Helper()
	own := newSigningKey(t)
	m.Apply("type: Secret\nmesh: default\nname: dataplane-token-signing-key-default-2\ndata: " +
		base64.StdEncoding.EncodeToString(own) + "\n")
	good, err := token.Inspect(m.Token("default", "backend-1", "backend"))
	if err != nil {
		t.Fatal(err)
	}
	return func(kid string, key *rsa.PrivateKey, change func(*token.Claims)) string {
		t.Helper()
		if key == nil {
			if key, err = token.ParseKey(own); err != nil {
				t.Fatal(err)
			}
		}
		c := good
		c.ID = "0e120ec9-6b42-495d-9758-07b59fe86fb9"
		change(&c)
		raw, err := token.Sign(token.SigningKey{KID: kid, Key: key}, c)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
}

func newSigningKey(t *testing.T) []byte {
	t.Helper()
	pem, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

// Whoever comes with a token that is not good enough is told so in one line, and the agent ends with the code 1.
func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	sign := newSigner(t, m)
	foreign, err := token.ParseKey(newSigningKey(t))
	if err != nil {
		t.Fatal(err)
	}
	same := func(*token.Claims) {}
	good := sign("2", nil, same)
	segments := strings.Split(good, ".")
	n := m.Node(testenv.Proxy{Serves: []string{"backend"}})
	a := command(t, m, n, nil, "run", "--cp-address="+m.CP.DP, "--dataplane-file=dp-backend.yaml", "--dataplane-token-file="+m.File(good))
	if err := a.AwaitReady(t.Context()); err != nil {
		t.Fatal("the good one: ", err)
	}
	if err := a.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ name, token, says string }{
		{"empty", "", "empty"},
		{"no token", "hunter2", "cannot be read"},
		{"two lines", good + "\n" + good, "line break"},
		{"changed", segments[0] + "." + segments[1] + "." + strings.Repeat("A", len(segments[2])), "signature"},
		{"by another key", sign("2", foreign, same), "signature"},
		{"by a key that is not there", sign("9", nil, same), "key"},
		{"expired", sign("2", nil, func(c *token.Claims) {
			c.IssuedAt, c.NotBefore = time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)
			c.ExpiresAt = time.Now().Add(-time.Hour)
		}), "expired"},
		{"not yet valid", sign("2", nil, func(c *token.Claims) { c.NotBefore = time.Now().Add(time.Hour) }), "not valid before"},
		{"of another mesh", sign("2", nil, func(c *token.Claims) { c.Mesh = "other" }), `mesh "other"`},
		{"of another proxy", sign("2", nil, func(c *token.Claims) { c.Name = "backend-2" }), `"backend-2"`},
		{"of another service", sign("2", nil, func(c *token.Claims) { c.Tags = map[string][]string{"kuma.io/service": {"web"}} }), "kuma.io/service"},
		{"with a tag that the proxy lacks", sign("2", nil, func(c *token.Claims) { c.Tags = map[string][]string{"version": {"1"}} }), "version"},
		{"of an ingress", sign("2", nil, func(c *token.Claims) { c.Type = "ingress" }), "ingress"},
	} {
		a := command(t, m, n, nil, "run", "--cp-address="+m.CP.DP, "--dataplane-file=dp-backend.yaml", "--dataplane-token-file="+m.File(c.token))
		select {
		case <-a.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the agent has not ended\n%s", c.name, a.Tail(20))
		}
		if code := a.ExitCode(); code != 1 {
			t.Errorf("%s: exit code %d, want 1", c.name, code)
		}
		if err := oneLine(a.Output(), c.says); err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, a.Output())
		}
		leaks := append(strings.Split(c.token, "."), strings.Split(good, ".")[2])
		for _, l := range leaks {
			if l != "" && strings.Contains(a.Output()+m.CP.Output(), l) {
				t.Errorf("%s: a part of the token was printed", c.name)
			}
		}
	}
}

// oneLine says whether an output ends with the one line that a person is to read, and what explains it, and whether that
// line says it.
func oneLine(output, says string) error {
	var said, after []string
	for line := range strings.Lines(output) {
		switch {
		case strings.HasPrefix(line, "kuma-dp: "):
			said = append(said, line)
		case len(said) > 0 && !strings.HasPrefix(line, "  "):
			after = append(after, line)
		}
	}
	if len(said) != 1 || len(after) > 0 {
		return fmt.Errorf("%d lines for a person, want one, with nothing but its explanation after it, not %q", len(said), after)
	}
	if !strings.Contains(said[0], says) {
		return fmt.Errorf("it does not say %q", says)
	}
	return nil
}
