package xds_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	mtlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/principals/mtls_authenticated/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"koguma/policy"
	"koguma/xds"
)

// certificate is what Envoy sees of a peer.
type certificate struct {
	uri string
	dns []string
}

func certificateOf(p policy.Peer) certificate {
	return certificate{"spiffe://default/" + p.Service, xds.TagNames(p)}
}

func unpack[M proto.Message](t *testing.T, a *anypb.Any, m M) M {
	t.Helper()
	if err := a.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func matches(t *testing.T, m *matcherv3.StringMatcher, s string) bool {
	t.Helper()
	switch p := m.MatchPattern.(type) {
	case *matcherv3.StringMatcher_Exact:
		return s == p.Exact
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(s, p.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(s, p.Suffix)
	}
	t.Fatalf("a matcher that the test does not know: %v", m)
	return false
}

// is judges a certificate as Envoy does.
func (c certificate) is(t *testing.T, p *rbacconfigv3.Principal) bool {
	t.Helper()
	switch id := p.Identifier.(type) {
	case *rbacconfigv3.Principal_Authenticated_:
		return matches(t, id.Authenticated.PrincipalName, c.uri)
	case *rbacconfigv3.Principal_AndIds:
		return !slices.ContainsFunc(id.AndIds.Ids, func(p *rbacconfigv3.Principal) bool { return !c.is(t, p) })
	case *rbacconfigv3.Principal_NotId:
		return !c.is(t, id.NotId)
	case *rbacconfigv3.Principal_Custom:
		san := unpack(t, id.Custom.TypedConfig, new(mtlsv3.Config)).SanMatcher
		return slices.ContainsFunc(c.dns, func(name string) bool { return matches(t, san.Matcher, name) })
	}
	t.Fatalf("a principal that the test does not know: %v", p)
	return false
}

// rbacFilter is that of HTTP, or of the network.
type rbacFilter interface {
	GetRules() *rbacconfigv3.RBAC
	GetShadowRules() *rbacconfigv3.RBAC
}

// filterOf is the RBAC of a filter chain.
func filterOf(t *testing.T, c *listenerv3.FilterChain) rbacFilter {
	t.Helper()
	first := c.Filters[0].GetTypedConfig()
	if first.MessageIs(new(rbacv3.RBAC)) {
		return unpack(t, first, new(rbacv3.RBAC))
	}
	manager := unpack(t, first, new(hcmv3.HttpConnectionManager))
	return unpack(t, manager.HttpFilters[0].GetTypedConfig(), new(httprbacv3.RBAC))
}

// chainOf is the filter chain for peers that dial with a name in the SNI, or with none.
func chainOf(l *listenerv3.Listener, sni string) *listenerv3.FilterChain {
	chain := l.DefaultFilterChain
	for _, c := range l.FilterChains {
		if slices.Contains(c.FilterChainMatch.ServerNames, sni) {
			chain = c
		}
	}
	return chain
}

// allowed reports whether a listener lets a peer in that dials with its own name in the SNI, or with none.
func allowed(t *testing.T, l *listenerv3.Listener, p policy.Peer, sni string) bool {
	t.Helper()
	return certificateOf(p).fits(t, filterOf(t, chainOf(l, sni)).GetRules())
}

// fits reports whether a rule has a policy for the certificate.
func (c certificate) fits(t *testing.T, rules *rbacconfigv3.RBAC) bool {
	t.Helper()
	for _, of := range rules.GetPolicies() {
		for _, principal := range of.Principals {
			if c.is(t, principal) {
				return true
			}
		}
	}
	return false
}

// doubts reports whether a listener would not let a peer in by its shadow rules, which deny.
func doubts(t *testing.T, l *listenerv3.Listener, p policy.Peer, sni string) bool {
	t.Helper()
	shadow := filterOf(t, chainOf(l, sni)).GetShadowRules()
	if shadow != nil && shadow.Action != rbacconfigv3.RBAC_DENY {
		t.Fatal("the shadow rules do not deny")
	}
	return certificateOf(p).fits(t, shadow)
}

// oddities are names and values that are easily mistaken for each other.
func oddities(r *rand.Rand) (service, key, value string) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	return pick("web", "Web", "web.v2", "web-v2", "w_"), pick("version", "Version", "example.com/v", "example.com-v", "v.version"),
		pick("1", "a", "A", "1.0", "1-0", "1_0", "h-"+strings.Repeat("0", 32), strings.Repeat("x", 70))
}

// Whom a permission lets in, the filters let in that are made of it, and nobody else.
func TestFiltersAreThePermission(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	builder := new(xds.Builder)
	in, out := 0, 0
	for i := range 400 {
		p := &policy.TrafficPermission{}
		for range 1 + r.IntN(4) {
			match := map[string]string{}
			for range r.IntN(3) {
				_, k, v := oddities(r)
				if r.IntN(4) == 0 {
					v = policy.Any
				}
				match[k] = v
			}
			if s, _, _ := oddities(r); len(match) == 0 || r.IntN(3) > 0 {
				match[policy.TagService] = s
			} else if r.IntN(2) == 0 {
				match[policy.TagService] = policy.Any
			}
			p.Sources = append(p.Sources, policy.Selector{Match: match})
		}
		v := views()["denied"]
		v.Inbounds[0].Protocol = []policy.Protocol{policy.ProtocolTCP, policy.ProtocolHTTP}[i%2]
		v.Inbounds[0].Sources = p.Admitted()
		v.Inbounds[0].Callers = callers(p, "web", "Web")
		snapshot, err := builder.Build(v)
		if err != nil {
			t.Fatal(err)
		}
		var l listenerv3.Listener
		if err := proto.Unmarshal(snapshot.Listeners.All()[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			peer := policy.Peer{Tags: map[string][]string{}}
			for range r.IntN(5) {
				_, k, v := oddities(r)
				if !slices.Contains(peer.Tags[k], v) {
					peer.Tags[k] = append(peer.Tags[k], v)
				}
			}
			peer.Service, _, _ = oddities(r)
			want := p.Source(peer) >= 0
			for _, sni := range []string{"", xds.ServerName(peer.Service, "web", "default")} {
				if got := allowed(t, &l, peer, sni); got != want {
					t.Fatalf("%v with SNI %q: let in %v, want %v by %v", peer, sni, got, want, p.Sources)
				}
			}
			if want {
				in++
			} else {
				out++
			}
		}
	}
	if in < 1000 || out < 1000 {
		t.Errorf("%d were let in, and %d not: the test shows little", in, out)
	}
}

// edicts are random MeshTrafficPermissions.
func edicts(r *rand.Rand) (all []*policy.MeshTrafficPermission) {
	refs := []policy.TargetRef{
		{Kind: policy.TargetMesh}, {Kind: policy.TargetMeshService, Name: "web"}, {Kind: policy.TargetMeshService, Name: "web-v2"},
		{Kind: policy.TargetMeshServiceSubset, Name: "web", Tags: map[string]string{"env": "a"}},
		{Kind: policy.TargetMeshSubset, Tags: map[string]string{"env": policy.Any}}, {Kind: policy.TargetMeshSubset, Tags: map[string]string{"version": "2"}},
	}
	for i := range 1 + r.IntN(3) {
		p := &policy.MeshTrafficPermission{Meta: policy.Meta{Mesh: "default", Name: fmt.Sprint("p", i)}}
		for range 1 + r.IntN(3) {
			action := policy.FromDefault{Action: []policy.Action{policy.Allow, policy.Deny, policy.ShadowDeny}[r.IntN(3)]}
			p.Spec.From = append(p.Spec.From, policy.From{TargetRef: refs[r.IntN(len(refs))], Default: action})
		}
		if r.IntN(3) == 0 {
			prefix := "spiffe://default/" + []string{"", "web", "web-"}[r.IntN(3)]
			id := []policy.IdentityMatch{{SpiffeID: &policy.TextMatch{Type: policy.MatchPrefix, Value: prefix}}}
			p.Spec = policy.MeshTrafficPermissionSpec{Rules: []policy.Matches{{Default: policy.MatchesDefault{Allow: id}}}}
		}
		all = append(all, p)
	}
	return all
}

// Whom MeshTrafficPermissions let in together, the filters let in that are made of them, and nobody else; and the filters have
// doubts about those only for whom they say so.
func TestFiltersAreTheMergedPermissions(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 8))
	d := &policy.Dataplane{Networking: policy.Networking{Inbound: []policy.Inbound{{Port: 80, Tags: map[string]string{policy.TagService: "web"}}}}}
	secured := &policy.Mesh{MTLS: &policy.MTLS{EnabledBackend: "ca", Backends: []policy.Backend{{Name: "ca"}}}}
	count, builder := map[string]int{}, new(xds.Builder)
	for i := range 60 {
		permissions := policy.NewPermissions(nil, edicts(r))
		merged := permissions.Merge(d, &d.Networking.Inbound[0])
		v := views()["denied"]
		in := &v.Inbounds[0]
		in.Protocol = []policy.Protocol{policy.ProtocolTCP, policy.ProtocolHTTP}[i%2]
		in.Sources, in.Doubted = merged.Admitted(), merged.ShadowDenied()
		for _, name := range []string{"web", "web-v2"} {
			if len(policy.Narrow(in.Sources, name)) > 0 {
				in.Callers = append(in.Callers, name)
			}
		}
		snapshot, err := builder.Build(v)
		if err != nil {
			t.Fatal(err)
		}
		var l listenerv3.Listener
		if err := proto.Unmarshal(snapshot.Listeners.All()[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			peer := policy.Peer{Service: []string{"web", "web-v2", "we"}[r.IntN(3)], Tags: map[string][]string{}}
			for _, k := range []string{"env", "version"} {
				if r.IntN(2) == 0 {
					peer.Tags[k] = []string{[]string{"a", "2"}[r.IntN(2)]}
				}
			}
			want := fmt.Sprint(policy.Rule(secured, permissions, peer, d, &d.Networking.Inbound[0]).Allowed,
				slices.ContainsFunc(merged.ShadowDenied(), func(s policy.Source) bool { return s.Admits(peer) }))
			count[want]++
			for _, sni := range []string{"", xds.ServerName(peer.Service, "web", "default")} {
				if got := fmt.Sprint(allowed(t, &l, peer, sni), doubts(t, &l, peer, sni)); got != want {
					t.Fatalf("%v with SNI %q: let in, and doubted: %s, want %s, by %v", peer, sni, got, want, in.Sources)
				}
			}
			lie := xds.ServerName("web", "web", "default")
			if peer.Service != "web" && slices.Contains(in.Callers, "web") && allowed(t, &l, peer, lie) {
				t.Fatalf("the chain of web lets %v in", peer)
			}
		}
	}
	if min(count["true false"], count["true true"], count["false false"]) < 300 || len(count) > 3 {
		t.Errorf("it is %v: the test shows little", count)
	}
}

// callers are the services that a permission names, and with one for any service also these.
func callers(p *policy.TrafficPermission, known ...string) []string {
	var all []string
	for _, s := range p.Admitted() {
		if s.Service != "" {
			all = append(all, s.Service)
		} else {
			all = append(all, known...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A change of the sources changes the chains of those whom it concerns, and of no others, byte for byte.
func TestChainsOfOthersStay(t *testing.T) {
	t.Parallel()
	chains := func(callers []string, sources ...policy.Source) map[string]string {
		v := views()["denied"]
		v.Inbounds[0].Sources, v.Inbounds[0].Callers = sources, callers
		var l listenerv3.Listener
		if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, c := range l.FilterChains {
			all[c.Name] = fmt.Sprint(proto.MarshalOptions{Deterministic: true}.Marshal(c))
		}
		return all
	}
	web, api := policy.Source{Service: "web"}, policy.Source{Service: "api"}
	web2 := policy.Source{Service: "web", Tags: map[string]string{"version": "2"}}
	any2 := policy.Source{Tags: map[string]string{"version": "2"}}
	both := []string{"api", "web"}
	base := chains(both, api, web2)
	for _, c := range []struct {
		name    string
		now     map[string]string
		changed string
	}{
		{"a tag for api", chains(both, policy.Source{Service: "api", Tags: map[string]string{"version": "2"}}, web2), "api"},
		{"all of web", chains(both, api, web), "web"},
		{"any service instead of web", chains(both, api, any2), ""},
		{"any service besides", chains(both, any2, api, web2), ""},
		{"one service more", chains([]string{"api", "db", "web"}, any2, api, web2), "db"},
	} {
		var changed []string
		for _, name := range []string{"api", "db", "web"} {
			if base[name] != c.now[name] {
				changed = append(changed, name)
			}
		}
		if got := strings.Join(changed, " "); got != c.changed {
			t.Errorf("%s changes the chains of %q, want %q", c.name, got, c.changed)
		}
	}
}

// The DNS names of different tags are different, and can stand in a certificate.
func TestTagNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	keys := []string{"version", "Version", "a.b", "a", "b.a", "example.com/Team", strings.Repeat("k", 255), "kuma.io/zone"}
	values := []string{"1", "a", "A", "a.b", "b", "a_b", "-", "h-" + strings.Repeat("0", 32), strings.Repeat("v", 255)}
	for _, k := range keys {
		for _, v := range values {
			name := xds.TagNames(policy.Peer{Tags: map[string][]string{k: {v}}})[0]
			if other, ok := seen[name]; ok {
				t.Errorf("%s=%s is called %q, as %s is", k, v, name, other)
			}
			seen[name] = k + "=" + v
			if len(name) > 253 || strings.Count(name, ".") != 4 || !strings.HasSuffix(name, ".tag.koguma.internal") || name != strings.ToLower(name) {
				t.Errorf("%s=%s is called %q", k, v, name)
			}
		}
	}
}
