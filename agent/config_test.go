package agent_test

import (
	"strings"
	"testing"
	"time"

	"koguma/agent"
	"koguma/certs"
	"koguma/token"
)

// What cannot be is refused before anything is opened, with the place and what to do, and never with the token.
func TestConfigIsRefused(t *testing.T) {
	t.Parallel()
	good := newToken(t, token.Claims{Name: "web-1"})
	leaf := newCA(t, "x")
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server, err := leaf.IssueServer(key.Public(), []string{"localhost"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		change     func(*agent.Config)
	}{
		{"other name", "--name", func(c *agent.Config) { c.Name = "web-2" }},
		{"other mesh", "--mesh", func(c *agent.Config) { c.Mesh = "other" }},
		{"no name", "--name", func(c *agent.Config) { c.Dataplane = nil }},
		{"name of a path", "--name", func(c *agent.Config) { c.Dataplane, c.Name = nil, "../../tmp/x" }},
		{"name of two lines", "--name", func(c *agent.Config) { c.Dataplane, c.Name = nil, "a\nb" }},
		{"mesh of a path", "--mesh", func(c *agent.Config) { c.Dataplane, c.Name, c.Mesh = nil, "web-1", "a/b" }},
		{"bad dataplane", "address", func(c *agent.Config) { c.Dataplane = web("web"); c.Dataplane.Networking.Address = "x" }},
		{"token and file", "give one of them", func(c *agent.Config) { c.TokenFile = "x" }},
		{"no JWT", "three parts joined by dots", func(c *agent.Config) { c.Token = "hunter2" }},
		{"two lines", "line break", func(c *agent.Config) { c.Token = good[:20] + "\n" + good[20:] }},
		{"expired", "exp", func(c *agent.Config) { c.Token = newToken(t, token.Claims{ExpiresAt: time.Now().Add(-time.Second)}) }},
		{"token of other mesh", "Mesh", func(c *agent.Config) { c.Token = newToken(t, token.Claims{Mesh: "other"}) }},
		{"token of other name", "Name", func(c *agent.Config) { c.Token = newToken(t, token.Claims{Name: "other"}) }},
		{"no scheme", "https://HOST:PORT", func(c *agent.Config) { c.CPAddresses = []string{"localhost:5678"} }},
		{"no port", "port", func(c *agent.Config) { c.CPAddresses = []string{"https://localhost"} }},
		{"path", "more than", func(c *agent.Config) { c.CPAddresses = []string{"https://localhost:5678/x"} }},
		{"query", "more than", func(c *agent.Config) { c.CPAddresses = []string{"https://localhost:5678?x"} }},
		{"credentials", "credentials", func(c *agent.Config) { c.CPAddresses = []string{"https://hunter2:hunter2@localhost:5678"} }},
		{"ftp", "scheme", func(c *agent.Config) { c.CPAddresses = []string{"ftp://localhost:5678"} }},
		{"second of two", "number 2 of 2: it has credentials", func(c *agent.Config) {
			c.CPAddresses = []string{"https://localhost:5678", "https://hunter2:hunter2@localhost:5678"}
		}},
		{"one that is empty", "number 2 of 3: no scheme", func(c *agent.Config) { c.CPAddresses = []string{"https://a:1", "", "https://b:1"} }},
		{"API among several", "number 1 of 2: an API", func(c *agent.Config) { c.CPAddresses = []string{"http://a:5681", "https://a:5678"} }},
		{"CA is a key", "CA of the control plane", func(c *agent.Config) { c.CACert = keyPEM }},
		{"CA is none", "not that of a CA", func(c *agent.Config) { c.CACert = certs.EncodeChain(server[:1]) }},
		{"readiness port", "readiness port", func(c *agent.Config) { c.ReadinessPort = 70000 }},
		{"concurrency", "concurrency", func(c *agent.Config) { c.Concurrency = -1 }},
		{"drain time", "negative", func(c *agent.Config) { c.DrainTime = -1 }},
		{"envoy's drain time", "whole seconds", func(c *agent.Config) { c.EnvoyDrainTime = time.Millisecond }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := agent.Config{Dataplane: web("web"), Token: good, CPAddresses: []string{"https://localhost:5678"}}
			test.change(&cfg)
			_, err := agent.New(cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			for _, secret := range []string{"eyJ", "hunter2", "PRIVATE KEY-----"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error has the secret in it: %v", err)
				}
			}
		})
	}
}

// A name and a mesh beside a definition that says the same are no contradiction.
func TestConfigSaysTheSameTwice(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{Dataplane: web("web"), Name: "web-1", Mesh: "default", Token: newToken(t, token.Claims{})}
	if _, err := agent.New(cfg); err != nil {
		t.Error(err)
	}
}
