package cp_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/cp"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

func claimsFor(mesh string) token.Claims { return token.Claims{Mesh: mesh} }

// A certificate names the tags of its service; with others there is another certificate, and with the same there is not.
func TestTagsInCertificates(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	const second = identity + ":admin"
	v := func(version string) string {
		return withTag(dataplane("web-1", "web,admin"), "version", version)
	}
	names := func(version string) []string {
		return xds.TagNames(policy.Peer{Tags: map[string][]string{"version": {version}}})
	}
	p.apply("web-1", v("1"))
	key := newSigner(t)
	s := p.join("web-1", nil)
	s.askAs(node(t, "default.web-1", csrOf(t, key)), xds.TypeSecret, identity, second, trust)
	u := s.expect(xds.TypeSecret)
	verify(t, u, identity, "spiffe://default/web")
	for _, name := range []string{identity, second} {
		if got := chain(t, u.secret(t, name))[0].DNSNames; !slices.Equal(got, names("1")) {
			t.Errorf("%s has %q", name, got)
		}
	}
	old := held(u.secret(t, identity))
	p.apply("web-1", v("V.2"))
	u = s.expect(xds.TypeSecret)
	if got := chain(t, u.secret(t, identity))[0].DNSNames; !slices.Equal(got, names("V.2")) {
		t.Errorf("with other tags it has %q", got)
	}
	now := held(u.secret(t, identity))
	s.leave()
	s = p.join("web-1", nil)
	s.askAs(node(t, "default.web-1", csrOf(t, key, old, now)), xds.TypeSecret, identity)
	if got := held(s.expect(xds.TypeSecret).secret(t, identity)); got != now {
		t.Error("the certificate that it had is not the one that it gets")
	}
}

// A service, or a tag, that a connected proxy has got is no endpoint before the proxy has taken it; what it has lost is none
// at once, and what stays is one all along.
func TestEndpointsWaitForNewTags(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		dialer := func(name, tags string) policy.Resource {
			return parse(t, strings.ReplaceAll(dataplane(name, name, "x"), `{"kuma.io/service":"x"}`, tags))
		}
		w.put(parse(t, withTag(dataplane("p-1", "a"), "version", "1")), parse(t, dataplane("gone-1", "a")),
			dialer("to-a", `{"kuma.io/service":"a"}`), dialer("to-b", `{"kuma.io/service":"b"}`),
			dialer("to-a2", `{"kuma.io/service":"a","version":"2"}`), dialer("to-a1", `{"kuma.io/service":"a","version":"1"}`))
		defer w.run()()
		sessions := map[string]xds.Session{}
		for _, name := range []string{"p-1", "to-a", "to-b", "to-a1", "to-a2"} {
			sessions[name] = w.session(node(t, "default."+name, nil))
			defer sessions[name].Close(false)
		}
		expect := func(when string, want map[string]int) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			for name, n := range want {
				s, _ := sessions[name].Snapshot()
				cluster := s.Endpoints.All()[0].Name
				if got := endpoints(t, s, cluster); got != n {
					t.Errorf("%s: %d endpoints of %s, want %d", when, got, cluster, n)
				}
			}
		}
		listening(sessions["p-1"])
		expect("at first", map[string]int{"to-a": 2, "to-b": 0, "to-a1": 1, "to-a2": 0})
		// Nothing of what its Envoy has depends on the version, so there is nothing to wait for.
		w.put(parse(t, withTag(dataplane("p-1", "a"), "version", "2")))
		synctest.Wait()
		sessions["p-1"].Snapshot()
		expect("with version 2", map[string]int{"to-a": 2, "to-a1": 0, "to-a2": 1})
		w.put(parse(t, dataplane("p-1", "a,b")))
		expect("with b as well, not taken", map[string]int{"to-a": 2, "to-b": 0, "to-a2": 0})
		listening(sessions["p-1"])
		expect("with b as well", map[string]int{"to-a": 2, "to-b": 1})
		w.put(parse(t, strings.ReplaceAll(dataplane("p-1", "x,b"), `"port":8080`, `"port":9090`)))
		expect("without a", map[string]int{"to-a": 1, "to-b": 1})
		// Nobody is connected for this one.
		w.put(parse(t, dataplane("gone-1", "b")))
		expect("with one that is not connected", map[string]int{"to-a": 0, "to-b": 2})
	})
}

// Under mTLS a proxy gets traffic when it has its certificates as well, and not for its listeners alone.
func TestEndpointsWaitForCertificates(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	api := p.join("api-1", brought(dataplane("api-1", "api", "web")))
	api.ask(xds.TypeEndpoint, "web")
	api.expect(xds.TypeEndpoint)
	web := p.join("web-1", brought(dataplane("web-1", "web")))
	p.apply("other-1", dataplane("other-1", "web"))
	if got, want := api.expect(xds.TypeEndpoint).addresses(t, "web"), address("other-1")+":8080"; got != want {
		t.Errorf("before it has a certificate there are %s, want %s", got, want)
	}
	web.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
	web.expect(xds.TypeSecret)
	if got := api.expect(xds.TypeEndpoint).addresses(t, "web"); !strings.Contains(got, address("web-1")+":8080") {
		t.Errorf("with a certificate there are %s", got)
	}
}

// With a CA that takes its time a proxy with other tags has everything but its clusters at once, which are those of its old
// certificate until the new one is there.
func TestClustersWaitForTheCertificate(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		offer := func(version string) {
			d := &policy.Dataplane{Meta: policy.Meta{Mesh: "default"}}
			d.Networking.Inbound = []policy.Inbound{{Tags: map[string]string{policy.TagService: "web", "version": version}}}
			cp.OfferFor(f.Session, &xds.View{
				Mesh: "default", Service: "web", MTLS: true, Roots: string(f.ca.CertPEM()), Names: strings.Join(xds.TagNames(d.Peer("web")), " "),
				Outbounds: []xds.Outbound{{Service: "db", Endpoints: &xds.Endpoints{Cluster: "db"}}},
			}, f.ca, f.backend, d)
		}
		cluster := func() string {
			snapshot, _ := f.Snapshot()
			return snapshot.Clusters.Get("db").Version
		}
		offer("1")
		f.follow(time.Second)
		before, certificate := cluster(), f.identity()
		f.ca.set(3*time.Second, nil)
		offer("2")
		f.follow(time.Second)
		if cluster() != before || f.identity() != certificate {
			t.Error("something has changed before the certificate is there")
		}
		f.follow(5 * time.Second)
		if cluster() == before || f.identity() == certificate {
			t.Error("the certificate is there, and nothing has changed")
		}
	})
}
