package policy_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"koguma/policy"
)

// A ruling is explained by the permission that decides, and by what is missing where little is.
func TestExplain(t *testing.T) {
	t.Parallel()
	web := policy.Peer{Service: "web", Tags: map[string][]string{"version": {"1", "3"}}}
	backend := map[string]string{policy.TagService: "backend", "env": "prod"}
	to := proxy("backend-1", backend)
	permission := func(sources ...map[string]string) *policy.TrafficPermission {
		p := &policy.TrafficPermission{Meta: policy.Meta{Name: "p"}, Destinations: []policy.Selector{{Match: backend}}}
		for _, s := range sources {
			p.Sources = append(p.Sources, policy.Selector{Match: s})
		}
		return p
	}
	tags := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	service := policy.TagService
	for _, c := range []struct {
		permission *policy.TrafficPermission
		code, why  string
	}{
		{nil, policy.CauseNoPermission, "no TrafficPermission has a destination that fits backend (env=prod, kuma.io/service=backend)"},
		{permission(tags(service, "api"), tags(service, "web")), policy.CausePermitted, "traffic-permission p, sources[1] (kuma.io/service=web) lets it in"},
		{permission(tags(service, "api"), tags(service, "mobile")), policy.CauseNotAmongSources, "web is none of its sources: api, mobile"},
		{permission(tags(service, "api"), tags(service, "web", "version", "2")), policy.CauseTagsMissing, "sources[1] is for others: web has version=1,3, wanted 2"},
		{permission(tags("version", "*", "region", "eu")), policy.CauseTagsMissing, "sources[0] is for others: web has no region, wanted eu"},
		{permission(tags(service, "*", "region", "*")), policy.CauseTagsMissing, "web has no region, wanted *"},
	} {
		var all []*policy.TrafficPermission
		if c.permission != nil {
			all = append(all, c.permission)
		}
		got := ruled(secured(), all, web, to).Explain(web, backend)
		if got.Code != c.code || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %s, want %s: %s", got.Code, got.Why, c.code, c.why)
		}
	}
	off := ruled(&policy.Mesh{}, nil, web, to).Explain(web, backend)
	if off.Code != policy.CauseMTLSOff {
		t.Errorf("without mTLS: %+v", off)
	}
}

// The code says whether it is allowed, whatever the permissions are.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		permissions, dataplanes := world(r, 4, 5)
		for _, from := range dataplanes {
			for _, to := range dataplanes {
				peer, in := from.Peer(from.Services()[0]), to.Networking.Inbound[0].Tags
				ruling := ruled(secured(), permissions, peer, to)
				if c := ruling.Explain(peer, in); (c.Code == policy.CausePermitted) != ruling.Allowed || strings.HasSuffix(c.Why, ": ") {
					t.Fatalf("%+v of %+v", c, ruling)
				}
			}
		}
	}
}
