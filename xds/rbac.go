package xds

import (
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	mtlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/principals/mtls_authenticated/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"koguma/policy"
)

// allow is the rule that lets in these sources of a mesh, and nobody else.
func allow(mesh string, sources []policy.Source) *rbacconfigv3.RBAC {
	return rulesFor(mesh, sources, rbacconfigv3.RBAC_ALLOW)
}

// doubt is the rule that would keep out these sources, and nobody else; nil for none.
func doubt(mesh string, sources []policy.Source) *rbacconfigv3.RBAC {
	if len(sources) == 0 {
		return nil
	}
	return rulesFor(mesh, sources, rbacconfigv3.RBAC_DENY)
}

// rulesFor names each policy for the source, not for the permission that it comes from: a permission that takes another's
// place, and says the same, disturbs no connection.
func rulesFor(mesh string, sources []policy.Source, action rbacconfigv3.RBAC_Action) *rbacconfigv3.RBAC {
	rules := &rbacconfigv3.RBAC{Action: action, Policies: map[string]*rbacconfigv3.Policy{}}
	for _, s := range sources {
		rules.Policies[s.String()] = &rbacconfigv3.Policy{
			Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
			Principals:  []*rbacconfigv3.Principal{principal(mesh, s)},
		}
	}
	return rules
}

// principal is a source by what its certificates say: the service by the URI, each other tag by a DNS name.
func principal(mesh string, s policy.Source) *rbacconfigv3.Principal {
	id := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: spiffeID(mesh, s.Service)}}
	if s.Service == "" {
		id.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: spiffeID(mesh, s.Prefix)}
	}
	all := []*rbacconfigv3.Principal{{Identifier: &rbacconfigv3.Principal_Authenticated_{
		Authenticated: &rbacconfigv3.Principal_Authenticated{PrincipalName: id},
	}}}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		all = append(all, tagged(k, s.Tags[k]))
	}
	for _, e := range s.Except {
		all = append(all, &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_NotId{NotId: principal(mesh, e)}})
	}
	if len(all) == 1 {
		return all[0]
	}
	return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_AndIds{AndIds: &rbacconfigv3.Principal_Set{Ids: all}}}
}

// tagged is whoever has a tag with that value, or with any.
func tagged(key, value string) *rbacconfigv3.Principal {
	name := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: tagName(key, value)}}
	if value == policy.Any {
		name.MatchPattern = &matcherv3.StringMatcher_Suffix{Suffix: tagSuffix(key)}
	}
	return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_Custom{Custom: &corev3.TypedExtensionConfig{
		Name: "envoy.rbac.principals.mtls_authenticated",
		TypedConfig: pack(&mtlsv3.Config{SanMatcher: &tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: name,
		}}),
	}}}
}
