package testenv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
	"koguma/xds"
)

// retag changes the tags of all inbounds of a proxy, as an operator does who applies its Dataplane.
func retag(t *testing.T, m *testenv.Mesh, s *testenv.Sidecar, tags map[string]string) {
	t.Helper()
	d := *s.Dataplane
	d.Networking.Inbound = slices.Clone(d.Networking.Inbound)
	for i := range d.Networking.Inbound {
		d.Networking.Inbound[i].Tags = tags
	}
	yaml, err := policy.EncodeYAML(&d)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(string(yaml))
}

// named waits until a proxy shows a certificate for a service, with these names besides.
func named(t *testing.T, address, service string, names ...string) {
	t.Helper()
	eventually(t, 10*time.Second, "the certificate of "+service, func() error {
		chain, err := testenv.ServerChain(t.Context(), address, "")
		if err != nil {
			return err
		}
		if got := chain[0]; got.URIs[0].Path != "/"+service || !slices.Equal(got.DNSNames, names) {
			return fmt.Errorf("it is that of %v, with %q", got.URIs, got.DNSNames)
		}
		return nil
	})
}

// Another version of a proxy, as a source and as a destination, loses no request: nobody is judged by tags that its
// certificate does not have yet, or that it had.
func TestVersionChangedUnderLoad(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	tags := func(service, version string) map[string]string {
		return map[string]string{policy.TagService: service, policy.TagProtocol: "http", "version": version}
	}
	names := func(service, version string) []string {
		d := policy.Dataplane{Networking: policy.Networking{Gateway: &policy.Gateway{Tags: tags(service, version)}}}
		return xds.TagNames(d.Peer(service))
	}
	v1 := map[string]string{"version": "1"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend"}, Tags: v1},
		testenv.Proxy{Serves: []string{"web"}, Dials: []string{"backend"}, Tags: v1},
	)
	backend, web := all[0], all[1]
	for _, v := range []string{"1", "2"} {
		m.Apply(permission("to-"+v, fmt.Sprintf("{kuma.io/service: backend, version: %q}", v),
			`{kuma.io/service: web, version: "1"}`, `{version: "2", kuma.io/service: "*"}`))
	}
	settles(t, "web's requests", web.Out("backend"), allowed)
	named(t, web.In("web"), "web", names("web", "1")...)

	load := testenv.StartLoad(t.Context(), web.Out("backend"), 200)
	for i, v := range []string{"2", "1", "2"} {
		retag(t, m, web, tags("web", v))
		named(t, web.In("web"), "web", names("web", v)...)
		retag(t, m, backend, tags("backend", v))
		named(t, backend.In("backend"), "backend", names("backend", v)...)
		if i == 0 {
			time.Sleep(time.Second) // what is drained late is lost late
		}
	}
	noneLost(t, load, 200)

	// From here on it is version 2 that counts, on connections too that are kept open.
	m.Apply(permission("to-2", `{kuma.io/service: backend, version: "2"}`, `{kuma.io/service: web, version: "2"}`))
	settles(t, "web's requests as version 2", web.Out("backend"), allowed)
	retag(t, m, web, tags("web", "1"))
	settles(t, "web's requests as version 1", web.Out("backend"), denied)
	retag(t, m, web, tags("web", "2"))
	settles(t, "web's requests as version 2 again", web.Out("backend"), allowed)
}

// A proxy that becomes an instance of another service is sent nobody before it has that service's certificate.
func TestServiceRenamedUnderLoad(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	a, _ := withTokenFile(t, m, testenv.Proxy{Serves: []string{"a"}}, m.Token("default", "a-1", "a", "b"))
	c := m.Start(testenv.Proxy{Serves: []string{"b"}}, testenv.Proxy{Serves: []string{"c"}, Dials: []string{"b"}})[1]
	m.Permit("to-b", "c", "b")
	settles(t, "c's requests to b", c.Out("b"), allowed)
	load := testenv.StartLoad(t.Context(), c.Out("b"), 200)
	retag(t, m, a, map[string]string{policy.TagService: "b", policy.TagProtocol: "http"})
	named(t, a.In("a"), "b", xds.TagNames(policy.Peer{Tags: map[string][]string{policy.TagProtocol: {"http"}}})...)
	eventually(t, 10*time.Second, "the new instance of b to get requests", func() error {
		_, body, err := testenv.Get(t.Context(), "http://"+c.Out("b"))
		if err == nil && !strings.Contains(body, "a-1") {
			err = fmt.Errorf("it is %s", body)
		}
		return err
	})
	time.Sleep(time.Second) // what is drained late is lost late
	noneLost(t, load, 200)
}
