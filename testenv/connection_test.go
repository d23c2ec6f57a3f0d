package testenv_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// connection is what the control plane says of a connection, which it has to say within a second.
func connection(ctx context.Context, m *testenv.Mesh, from, to string) (policy.Connection, error) {
	var c policy.Connection
	begin := time.Now()
	query := url.Values{"from": {from}, "to": {to}}
	status, body, err := testenv.Get(ctx, m.CP.API+"/meshes/default/connections?"+query.Encode())
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	if took := time.Since(begin); err == nil && took > time.Second {
		err = fmt.Errorf("it took %v", took)
	}
	if err == nil {
		err = policy.Decode([]byte(body), &c)
	}
	return c, err
}

// why is the code of the cause, of the first pair that is denied if there are any, and its sentence.
func why(c policy.Connection) (code, sentence string) {
	cause := c.Cause
	if cause == nil {
		cause = &c.Pairs[0].Cause
	}
	return cause.Code, cause.Why
}

// hearing is a test of what is said of connections, each of which is really tried.
type hearing struct {
	*testenv.Mesh
	t     *testing.T
	codes map[string]bool // that were named
}

// ask is one connection: from whom to whom, as kumactl is asked; what the real one comes to, an error if it is denied; and
// what has to be said of it: the code, and an expression that the sentence matches.
type ask struct {
	from, to string
	try      func() string
	in       bool
	code     string
	says     string
}

func (h *hearing) named(name string, a ask) {
	h.t.Helper()
	eventually(h.t, 20*time.Second, name, func() error {
		got := a.try()
		if in := got == allowed || got == open; in != a.in {
			return fmt.Errorf("the connection is %q", got)
		}
		c, err := connection(h.t.Context(), h.Mesh, a.from, a.to)
		if err != nil {
			return err
		}
		code, sentence := why(c)
		if code != a.code || (c.Verdict == policy.Allowed) != a.in || !regexp.MustCompile(a.says).MatchString(sentence) {
			return fmt.Errorf("it is %q, and said to be %s: %s: %s", got, c.Verdict, code, sentence)
		}
		return nil
	})
	h.codes[a.code] = true
}

// logged waits until the agent of a proxy has written down a denial at a service for that reason. It is tried again,
// because not each of many has its line.
func (h *hearing) logged(s *testenv.Sidecar, service, reason string, try func() string) {
	h.t.Helper()
	eventually(h.t, 10*time.Second, "a line that says "+reason, func() error {
		_ = try()
		<-time.After(100 * time.Millisecond)
		if !slices.ContainsFunc(deniedLines(s, service), func(l string) bool { return strings.Contains(l, " reason="+reason+" ") }) {
			return fmt.Errorf("there is none among\n%s", strings.Join(deniedLines(s, service), "\n"))
		}
		return nil
	})
}

// through is a request from a proxy to a service.
func (h *hearing) through(s *testenv.Sidecar, service string) func() string {
	if service == "db" {
		return func() string { return tcpAnswer(h.t.Context(), s.Out(service)) }
	}
	return func() string { return httpAnswer(h.t.Context(), s.Out(service)) }
}

// change applies the Dataplane of a proxy with a change.
func (h *hearing) change(s *testenv.Sidecar, change func(*policy.Dataplane)) {
	h.t.Helper()
	d := *s.Dataplane
	d.Networking.Inbound = slices.Clone(d.Networking.Inbound)
	change(&d)
	yaml, err := policy.EncodeYAML(&d)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Apply(string(yaml))
}

// Whatever denies a connection between real Envoys is named, and what allows it as well.
func TestDenialsAreExplained(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	h := &hearing{m, t, map[string]bool{}}
	dials := []string{"backend", "lazy", "fragile", "ghost", "target", "nothing", "stranger"}
	m.Apply("type: Dataplane\nmesh: default\nname: ghost-1\nnetworking:\n  address: 127.0.0.1\n  inbound:\n    - {port: 9, servicePort: 8, tags: {kuma.io/service: ghost, kuma.io/protocol: http}}\n")
	dying := m.Prepare(testenv.Proxy{Serves: []string{"dying"}, Dials: []string{"db"}})
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials, Tags: map[string]string{"version": "1"}},
		testenv.Proxy{Serves: []string{"lazy"}}, testenv.Proxy{Serves: []string{"fragile"}},
		testenv.Proxy{Serves: []string{"thief"}, Dials: []string{"backend"}},
		testenv.Proxy{Serves: []string{"target"}},
	)
	backend, web, lazy, fragile, thief, target := all[0], all[1], all[2], all[3], all[4], all[5]
	toBackend := h.through(web, "backend")
	h.named("without mTLS", ask{"web", "backend", toBackend, true, policy.CauseMTLSOff, "plaintext"})
	m.TurnOnMTLS("default")
	h.named("no permission", ask{"web", "backend", toBackend, false, policy.CauseNoPermission, "backend"})
	h.logged(backend, "backend", "not-permitted", toBackend)
	h.permissions(web, thief)

	// A token that ends takes the certificate with it.
	m.Permit("to-all", "web thief dying", "*")
	m.Forbid("wide")
	token := m.Kumactl("generate", "dataplane-token", "--name=dying-1", "--tag=kuma.io/service=dying", "--valid-for=15s")
	if err := testenv.ReplaceFile(dying.TokenFile, strings.TrimSpace(token)); err != nil {
		t.Fatal(err)
	}
	dying.Launch()
	dying.AwaitReady()
	h.named("all well", ask{"dying", "db", h.through(dying, "db"), true, policy.CausePermitted, `traffic-permission to-all, sources\[2\]`})

	m.Apply("type: Mesh\nname: other\n")
	m.TurnOnMTLS("other")
	stranger := m.Identity("other", "stranger")
	m.Apply("type: Dataplane\nmesh: other\nname: stranger-1\nnetworking:\n  address: 127.0.0.1\n  inbound:\n    - {port: 9, servicePort: 8, tags: {kuma.io/service: stranger}}\n")
	fromOther := func() string { return dialer{cert: stranger}.httpAnswer(t.Context(), backend.In("backend")) }
	h.named("from another mesh", ask{"stranger", "backend", fromOther, false, policy.CauseWrongMesh, "it is in other"})
	h.logged(backend, "backend", "wrong-mesh", fromOther)
	h.named("to another mesh", ask{"web", "stranger", h.through(web, "stranger"), false, policy.CauseWrongMesh, "it is in other"})
	h.named("no such service", ask{"web", "nothing", h.through(web, "nothing"), false, policy.CauseNoSuchService, "nothing"})
	h.named("no such proxy", ask{"web", "proxy:nothing", h.through(web, "nothing"), false, policy.CauseNoSuchProxy, "nothing"})
	h.named("never connected", ask{"web", "ghost", h.through(web, "ghost"), false, policy.CauseNotConnected, "ghost-1 is not connected: it has not been"})
	fragile.Crash()
	h.named("killed", ask{"web", "fragile", h.through(web, "fragile"), false, policy.CauseNotConnected, "stream broke"})

	h.destinations(web, lazy, target)
	h.sources(backend, thief, dying)
	for code := range h.codes {
		if !slices.Contains(policy.Causes(), code) && !strings.HasPrefix(code, "permi") && code != policy.CauseMTLSOff {
			t.Errorf("%s is not in the list", code)
		}
	}
}

// permissions are the causes that permissions have, and what they say would help does.
func (h *hearing) permissions(web, thief *testenv.Sidecar) {
	h.t.Helper()
	toBackend := h.through(web, "backend")
	h.helps(`traffic-permission web-to-backend, sources\[0\]`, toBackend)
	h.Permit("web-to-backend", "mobile", "backend")
	h.named("another's permission", ask{"web", "backend", toBackend, false, policy.CauseNotAmongSources, "traffic-permission web-to-backend decides.*mobile"})
	h.Apply(permission("web-to-backend", "{kuma.io/service: backend}", `{kuma.io/service: web, version: "2"}`))
	h.named("another version", ask{"web", "backend", toBackend, false, policy.CauseTagsMissing, "web has version=1, wanted 2"})
	h.Apply(permission("web-to-backend", "{kuma.io/service: backend}", `{kuma.io/service: web, region: eu}`))
	h.named("a tag that it has not", ask{"proxy:web-1", "proxy:backend-1", toBackend, false, policy.CauseTagsMissing, "web has no region, wanted eu"})
	h.helps(`traffic-permission web-to-backend, sources\[1\]`, toBackend)
	h.Forbid("web-to-backend")
	// One that decides about more than is asked for: nobody may come to db by the way, and thief goes on.
	h.Permit("wide", "thief", "*")
	h.named("a wide one", ask{"web", "backend", toBackend, false, policy.CauseNotAmongSources, "traffic-permission wide decides"})
	h.named("its source", ask{"thief", "backend", h.through(thief, "backend"), true, policy.CausePermitted, "wide"})
	h.helps(`traffic-permission web-to-backend, sources\[1\]`, toBackend)
	h.named("its source goes on", ask{"thief", "backend", h.through(thief, "backend"), true, policy.CausePermitted, `web-to-backend, sources\[0\]`})
	h.Forbid("web-to-backend")
}

// helps applies the permission that is printed for web and backend, by which these two change and nobody else.
func (h *hearing) helps(says string, toBackend func() string) {
	h.t.Helper()
	c, err := connection(h.t.Context(), h.Mesh, "web", "backend")
	if err != nil || c.Pairs[0].Cause.Permission == "" {
		h.t.Fatalf("%v, no permission is printed: %+v", err, c)
	}
	file := h.File(c.Pairs[0].Cause.Permission)
	changes := changeLine.FindAllStringSubmatch(h.Kumactl("apply", "--dry-run", "-f", file), -1)
	if len(changes) != 1 || fmt.Sprint(changes[0][1:]) != "[web -> backend denied allowed]" {
		h.t.Errorf("what would change by it is %q", changes)
	}
	h.Kumactl("apply", "-f", file)
	h.named("with what was printed", ask{"web", "backend", toBackend, true, policy.CausePermitted, says})
}

// destinations are the causes that a destination has.
func (h *hearing) destinations(web, lazy, target *testenv.Sidecar) {
	h.t.Helper()
	toLazy := h.through(web, "lazy")
	occupant, err := net.Listen("tcp", net.JoinHostPort(lazy.Address, "0"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer occupant.Close()
	h.change(lazy, func(d *policy.Dataplane) { d.Networking.Inbound[0].Port = occupant.Addr().(*net.TCPAddr).Port })
	h.named("refused by Envoy", ask{"web", "lazy", toLazy, false, policy.CauseNotAcked, "lazy-1 has not taken.*Address already in use"})
	h.change(lazy, func(d *policy.Dataplane) { d.Networking.Inbound[0].State = policy.StateNotReady })
	h.named("not ready", ask{"web", "lazy", toLazy, false, policy.CauseNotReady, "lazy-1"})
	h.change(lazy, func(d *policy.Dataplane) {})
	h.named("ready again", ask{"web", "lazy", toLazy, true, policy.CausePermitted, ""})
	constrain(h.Mesh, "constraints: {dataplaneProxy: {restrictions: [{tags: {kuma.io/service: lazy}}]}}\n")
	h.named("a member no more", ask{"web", "lazy", toLazy, false, policy.CauseMembership, `restrictions\[0\]`})
	constrain(h.Mesh, "constraints: {dataplaneProxy: {restrictions: [{tags: {version: \"1\"}}]}}\n")
	h.named("the source a member no more", ask{"web", "backend", h.through(web, "backend"), false, policy.CauseMembership, `"web-1".*restrictions\[0\]`})
	constrain(h.Mesh, "")
	h.named("members again", ask{"web", "backend", h.through(web, "backend"), true, policy.CausePermitted, ""})
	h.named("members again", ask{"web", "lazy", toLazy, true, policy.CausePermitted, ""})
	h.change(lazy, func(d *policy.Dataplane) {
		d.Networking.Inbound[0].Tags = map[string]string{policy.TagService: "bank", "of": "lazy"}
	})
	h.named("put out", ask{"web", "proxy:lazy-1", toLazy, false, policy.CauseSessionEnded, "was put out: .*token refused"})
	revoke(h.t, h.Mesh, target.Token)
	h.named("the destination's token is revoked", ask{"web", "target", h.through(web, "target"), false, policy.CauseTokenRevoked, "target-1"})
}

// sources are the causes that a source has.
func (h *hearing) sources(backend, thief, dying *testenv.Sidecar) {
	h.t.Helper()
	h.named("a source", ask{"thief", "backend", h.through(thief, "backend"), true, policy.CausePermitted, ""})
	// An agent that stands still: its Envoy shows what it has.
	if err := thief.Signal(syscall.SIGSTOP); err != nil {
		h.t.Fatal(err)
	}
	defer thief.Signal(syscall.SIGCONT)
	revoke(h.t, h.Mesh, thief.Token)
	h.named("its token is revoked", ask{"thief", "backend", h.through(thief, "backend"), false, policy.CauseTokenRevoked, "thief-1 is revoked, and its certificates"})
	h.logged(backend, "backend", "revoked", h.through(thief, "backend"))
	h.Kumactl("delete", "secret", policy.RevocationsName("default"))
	h.named("and good again", ask{"thief", "backend", h.through(thief, "backend"), false, policy.CauseWithdrawn, "thief-1 for thief was withdrawn"})
	h.named("its token has ended", ask{"dying", "db", h.through(dying, "db"), false, policy.CauseExpired, "dying-1 for dying has ended.*token refused"})
	h.logged(backend, "db", "expired", h.through(dying, "db"))
}

// What a proxy has not acknowledged is not said to be so, either way.
func TestDenialsOfThoseBehind(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	h := &hearing{m, t, map[string]bool{}}
	all := m.Start(testenv.Proxy{Serves: []string{"backend", "db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend", "db"}})
	backend, web := all[0], all[1]
	toBackend := h.through(web, "backend")
	settles(t, "web's requests", web.Out("backend"), allowed)
	frozen := func(s *testenv.Sidecar, do func()) {
		t.Helper()
		if err := s.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		do()
		if err := s.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	frozen(web, func() {
		m.Apply("type: Mesh\nname: default\nmtls:\n  enabledBackend: ca-1\n  backends:\n    - {name: ca-1, type: builtin, mode: PERMISSIVE}\n")
		h.named("the source has not heard of PERMISSIVE", ask{"web", "backend", toBackend, true, policy.CausePermissive, "web-1 still dials it so"})
		m.TurnOnMTLS("default")
		h.named("the source has not heard of mTLS", ask{"web", "backend", toBackend, false, policy.CauseNotAcked, "web-1 still dials in plaintext"})
		h.logged(backend, "backend", "plaintext", toBackend)
	})
	h.named("it has", ask{"web", "backend", toBackend, false, policy.CauseNoPermission, ""})
	frozen(backend, func() {
		m.Permit("p", "web", "backend")
		h.named("the destination has not heard of the permission",
			ask{"web", "backend", toBackend, false, policy.CauseNotAcked, "backend-1 has not taken yet that it lets web in: listeners"})
	})
	h.named("it has", ask{"web", "backend", toBackend, true, policy.CausePermitted, ""})
	frozen(backend, func() {
		m.Forbid("p")
		h.named("it has not heard that it is gone", ask{"web", "backend", toBackend, true, policy.CausePermitted, "lets it in still"})
		c, err := connection(t.Context(), m, "web", "backend")
		if err != nil || len(c.Pairs[0].Warnings) != 2 || c.Pairs[0].Warnings[0].Code != policy.CauseNoPermission || c.Pairs[0].Warnings[1].Code != policy.CauseNotAcked {
			t.Errorf("%v, %+v", err, c)
		}
	})
	m.Permit("p", "web", "backend")
	m.Permit("q", "web", "db")
	h.named("all is well, with db", ask{"web", "db", h.through(web, "db"), true, policy.CausePermitted, ""})
	h.named("all is well", ask{"web", "backend", toBackend, true, policy.CausePermitted, ""})
	m.Apply("type: Mesh\nname: default\nmtls:\n  enabledBackend: ca-1\n  backends:\n    - {name: ca-1, type: builtin}\n    - {name: ca-2, type: builtin}\n")
	frozen(backend, func() {
		m.Kumactl("rotate", "ca", "--to", "ca-2")
		eventually(t, 5*time.Second, "the rotation to wait for the one", func() error {
			_, err := m.CP.Kumactl(t.Context(), "rotate", "ca", "--force")
			return err
		})
		h.named("a CA that the destination does not know", ask{"web", "db", h.through(web, "db"), false, policy.CauseUnknownCA, "backend-1 does not trust the certificate of web-1"})
	})
	// The agent reads on where it stood.
	h.logged(backend, "db", "unknown-ca", h.through(web, "db"))
	h.named("it knows it", ask{"web", "db", h.through(web, "db"), true, policy.CausePermitted, ""})
	m.Kumactl("rotate", "ca", "--wait")
	m.Apply("type: Mesh\nname: default\nmtls:\n  enabledBackend: ca-2\n  backends:\n    - {name: ca-2, type: builtin, mode: PERMISSIVE}\n")
	m.Forbid("p")
	h.named("permissive, and under mTLS", ask{"web", "backend", toBackend, false, policy.CauseNoPermission, ""})
}

// Who has no certificate, or one that has ended because there is no other, is named with what the CA says.
func TestDenialsWithoutCA(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{})
	h := &hearing{m, t, map[string]bool{}}
	begin := time.Now()
	m.Apply("type: Mesh\nname: default\nmtls:\n  enabledBackend: ca-1\n  backends:\n    - name: ca-1\n      type: builtin\n" +
		"      dpCert: {rotation: {expiration: 10s}}\n      conf: {caCert: {expiration: 15s}}\n")
	m.Permit("p", "*", "*")
	all := m.Start(testenv.Proxy{Serves: []string{"db:tcp"}}, testenv.Proxy{Serves: []string{"web"}, Dials: []string{"db"}})
	toDB := h.through(all[1], "db")
	h.named("while the CA lives", ask{"web", "db", toDB, true, policy.CausePermitted, ""})
	<-time.After(time.Until(begin.Add(16 * time.Second)))
	h.named("when it has ended", ask{"web", "db", toDB, false, policy.CauseExpired, "the certificate of web-1 for web has ended.*it would have ended already"})
	late := m.Launch(testenv.Proxy{Serves: []string{"late"}, Dials: []string{"db"}})
	h.named("who comes too late", ask{"late", "db", h.through(late, "db"), false, policy.CauseNoCertificate, "it would have ended already"})
	if out, err := m.CP.Kumactl(t.Context(), "inspect", "connection", "--from=web", "--to=db"); err == nil || !strings.Contains(out+err.Error(), policy.CauseExpired) {
		t.Errorf("%v\n%s", err, out)
	}
}
