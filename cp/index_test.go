package cp_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/authority"
	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/xds"
)

// indexOf is an index with the mesh "default" and these resources.
func indexOf(all ...policy.Resource) cp.Index {
	x := cp.NewIndex()
	for _, r := range append([]policy.Resource{cptest.Mesh("default")}, all...) {
		x.Apply(r.Metadata().Key(), r)
	}
	return x
}

// instance is a Dataplane with one inbound of these tags.
func instance(name string, tags map[string]string) *policy.Dataplane {
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: name}}
	d.Networking.Address = address(name)
	d.Networking.Inbound = []policy.Inbound{{Port: 80, ServicePort: 8080, Tags: tags}}
	return d
}

// dialer is a Dataplane with an outbound to these tags.
func dialer(name string, tags map[string]string) *policy.Dataplane {
	d := instance(name, map[string]string{"kuma.io/service": name})
	d.Networking.Outbound = []policy.Outbound{{Port: 10001, Tags: tags}}
	return d
}

func view(t *testing.T, x cp.Index, name string) *xds.View {
	t.Helper()
	v, _, err := x.View("default", name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// An outbound speaks what all instances speak, TCP where they differ, and goes on speaking it when the last has gone.
func TestProtocol(t *testing.T) {
	t.Parallel()
	web := func(name string, p policy.Protocol) policy.Resource {
		return instance(name, map[string]string{"kuma.io/service": "web", "kuma.io/protocol": string(p)})
	}
	x := indexOf(dialer("api-1", map[string]string{"kuma.io/service": "web"}))
	for i, step := range []struct {
		name string
		r    policy.Resource // nil: it goes
		want policy.Protocol
	}{
		{"none", web("none", "http"), "http"},
		{"a", web("a", "http"), "http"},
		{"b", web("b", "grpc"), "tcp"},
		{"b", nil, "http"},
		{"none", nil, "http"},
		{"a", nil, "http"},
		{"a", web("a", "http2"), "http2"},
	} {
		x.Apply(key(step.name), step.r)
		if got := view(t, x, "api-1").Outbounds[0].Protocol; got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
	if got := view(t, indexOf(dialer("api-1", map[string]string{"kuma.io/service": "web"})), "api-1").Outbounds[0].Protocol; got != "tcp" {
		t.Errorf("a service without instances speaks %s", got)
	}
}

// An outbound leads to the instances that have all of its tags with its values, whatever else they have.
func TestSubset(t *testing.T) {
	t.Parallel()
	tags := func(pairs ...string) map[string]string {
		m := map[string]string{"kuma.io/service": "web"}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	all := []policy.Resource{
		instance("a", tags("version", "1")), instance("b", tags("version", "2")), instance("c", tags("version", "1", "zone", "x")), instance("d", tags()),
		instance("e", map[string]string{"kuma.io/service": "web-1", "version": "1"}),
	}
	for _, c := range []struct {
		tags map[string]string
		want string
	}{
		{tags(), "a b c d"},
		{tags("version", "1"), "a c"},
		{tags("version", "1", "zone", "x"), "c"},
		{tags("version", "3"), ""},
		{tags("zone", ""), ""},
	} {
		x := indexOf(append(all, dialer("z", c.tags))...)
		e := view(t, x, "z").Outbounds[0].Endpoints
		var got []string
		for _, r := range all {
			if d := r.(*policy.Dataplane); slices.Contains(e.Addresses, d.Reach(&d.Networking.Inbound[0])) {
				got = append(got, d.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v leads to %q, want %q", c.tags, got, c.want)
		}
		// One more of version 1 in zone x is noticed under each of the names that it comes under.
		f := instance("f", tags("version", "1", "zone", "x"))
		x.Apply(f.Key(), f)
		if changed := view(t, x, "z").Outbounds[0].Endpoints != e; changed != strings.Contains(c.want, "c") {
			t.Errorf("%v: changed: %v", c.tags, changed)
		}
	}
}

// Endpoints that are as they were stay the same value, so that nobody takes them for a change.
func TestEndpointsKeepTheirIdentity(t *testing.T) {
	t.Parallel()
	web := map[string]string{"kuma.io/service": "web"}
	x := indexOf(instance("a", web), dialer("z", web))
	before := view(t, x, "z")
	again := instance("a", map[string]string{"kuma.io/service": "web", "version": "2"})
	x.Apply(again.Key(), again)
	if after := view(t, x, "z"); !after.Equal(before) {
		t.Errorf("from %+v to %+v", before, after)
	}
}

// Only more instances may wait; all else is done at once.
func TestWhatMayWait(t *testing.T) {
	t.Parallel()
	x := indexOf()
	web := instance("a", map[string]string{"kuma.io/service": "web"})
	for _, c := range []struct {
		name string
		key  policy.Key
		r    policy.Resource
		want bool
	}{
		{"a new Dataplane", web.Key(), web, true},
		{"a changed one", web.Key(), web, false},
		{"a deleted one", web.Key(), nil, false},
		{"the mesh", cptest.Mesh("default").Key(), cptest.Mesh("default"), false},
		{"a permission", policy.Key{Type: policy.TypeTrafficPermission, Mesh: "default", Name: "p"}, parse(t, cptest.Permission), false},
		{"a secret", cptest.Secret("x", []byte("x")).Key(), cptest.Secret("x", []byte("x")), false},
	} {
		if got := x.Apply(c.key, c.r); got != c.want {
			t.Errorf("%s may wait: %v", c.name, got)
		}
	}
}

// Who is let in follows the permission that fits best, and "any" names those that are known to dial.
func TestPermitted(t *testing.T) {
	t.Parallel()
	web := map[string]string{"kuma.io/service": "web"}
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	x := indexOf(withoutCA(t), cptest.Secret("default.ca-builtin-cert-ca-1", ca.CertPEM()), cptest.Secret("default.ca-builtin-key-ca-1", key),
		trusting(ca), instance("a", web), dialer("z", web))
	permit := func(name, from, to string) {
		r := parse(t, strings.NewReplacer(`"p"`, `"`+name+`"`, `"web"`, `"`+from+`"`, `"backend"`, `"`+to+`"`).Replace(cptest.Permission))
		x.Apply(r.Metadata().Key(), r)
	}
	check := func(what string, any bool, sources ...string) {
		t.Helper()
		in := view(t, x, "a").Inbounds[0]
		everybody := slices.ContainsFunc(in.Sources, func(s policy.Source) bool { return s.Service == "" })
		if everybody != any || !cmp.Equal(in.Callers, sources) {
			t.Errorf("%s: %v %q, want %v %q", what, in.Sources, in.Callers, any, sources)
		}
	}
	check("nothing", false)
	permit("all", "*", "*")
	check("everybody", true, "z")
	y := dialer("y", web)
	x.Apply(y.Key(), y)
	check("one dialer more", true, "y", "z")
	x.Apply(y.Key(), instance("y", map[string]string{"kuma.io/service": "y"}))
	check("one dialer less", true, "z")
	permit("some", "z", "web")
	check("the closer one", false, "z")
	x.Apply(policy.Key{Type: policy.TypeTrafficPermission, Mesh: "default", Name: "some"}, nil)
	check("without it", true, "z")
	x.Apply(cptest.Mesh("default").Key(), cptest.Mesh("default"))
	check("without mTLS", false)
}

// trusting is that the mesh trusts this CA as ca-1, and nothing else.
func trusting(ca *certs.CA) *policy.Trust {
	roots := []*x509.Certificate{ca.Certificate()}
	a := policy.TrustedAuthority{Backend: "ca-1", Fingerprint: authority.Fingerprint(roots), Roots: string(certs.EncodeChain(roots))}
	return &policy.Trust{
		Meta:        policy.Meta{Type: policy.TypeTrust, Mesh: "default", Name: "default"},
		Authorities: []policy.TrustedAuthority{a}, Issuing: a.Fingerprint, Stage: policy.StageSettled,
	}
}

// A mesh that is not there, or whose CA is not, gives no view rather than one without identities.
func TestViewFailsClosed(t *testing.T) {
	t.Parallel()
	web := instance("a", map[string]string{"kuma.io/service": "web"})
	x := indexOf(web, withoutCA(t))
	if _, _, err := x.View("default", "a"); err == nil || !strings.Contains(err.Error(), `the CA of backend "ca-1"`) {
		t.Errorf("a CA that is not there: %v", err)
	}
	x.Apply(cptest.Mesh("default").Key(), nil)
	if _, _, err := x.View("default", "a"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a mesh that is not there: %v", err)
	}
	x = indexOf(web, withoutCA(t), cptest.Secret("default.ca-builtin-cert-ca-1", []byte("x")), cptest.Secret("default.ca-builtin-key-ca-1", []byte("canary")))
	if _, _, err := x.View("default", "a"); err == nil || !strings.Contains(err.Error(), "CA") || strings.Contains(err.Error(), "canary") {
		t.Errorf("a CA that cannot be read: %v", err)
	}
}
