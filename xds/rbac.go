package xds

import (
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// allow is the rule that lets in these services of a mesh, or all of them, and nobody else. It names each policy for
// the service, not for the permission that allows it: a permission that takes another's place, and allows the same,
// disturbs no connection.
func allow(mesh string, sources []string, any bool) *rbacconfigv3.RBAC {
	rules := &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_ALLOW, Policies: map[string]*rbacconfigv3.Policy{}}
	if any {
		rules.Policies["*"] = admit(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: spiffeID(mesh, "")},
		})
		return rules
	}
	for _, s := range sources {
		rules.Policies[s] = admit(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: spiffeID(mesh, s)},
		})
	}
	return rules
}

// admit is the policy that lets in a peer by the URI in its certificate.
func admit(name *matcherv3.StringMatcher) *rbacconfigv3.Policy {
	return &rbacconfigv3.Policy{
		Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
		Principals: []*rbacconfigv3.Principal{{Identifier: &rbacconfigv3.Principal_Authenticated_{
			Authenticated: &rbacconfigv3.Principal_Authenticated{PrincipalName: name},
		}}},
	}
}
