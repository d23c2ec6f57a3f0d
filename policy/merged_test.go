package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"koguma/policy"
)

// backendOne is a Dataplane that all kinds of references can pick.
func backendOne() *policy.Dataplane {
	d := proxy("backend-1", service("backend", "version", "1"))
	d.Labels = map[string]string{"app": "backend"}
	return d
}

// Of what several say of one peer, the strongest holds, and who is not named is denied.
func TestMerge(t *testing.T) {
	t.Parallel()
	action := func(ref, action string) string {
		return fmt.Sprintf("{targetRef: %s, default: {action: %s}}", ref, action)
	}
	of := func(target string, from ...string) string {
		if target != "" {
			target = "targetRef: " + target + "\n"
		}
		return target + "from: [" + strings.Join(from, ", ") + "]"
	}
	rules := func(kind, list, id string) string {
		return fmt.Sprintf("rules: [{default: {%s: [{spiffeID: {type: %s, value: %s}}]}}]", list, kind, id)
	}
	const mesh, web, dev = "{kind: Mesh}", "{kind: MeshService, name: web}", "{kind: MeshSubset, tags: {env: dev}}"
	allow, deny, denyWeb, allowWeb := action(mesh, "Allow"), action(mesh, "Deny"), action(web, "Deny"), action(web, "Allow")
	for _, c := range []struct {
		name  string
		specs []string // of permissions a, b, c
		want  string   // whether web, web with env=dev and api get in
	}{
		{"nobody is named", []string{of("", action("{kind: MeshService, name: db}", "Allow"))}, "- - -"},
		{"everybody", []string{of("", allow)}, "a a a"},
		{"one service", []string{of("", allowWeb)}, "a a -"},
		{"a later element goes before", []string{of("", allow, denyWeb)}, "- - a"},
		{"an earlier one does not", []string{of("", denyWeb, allow)}, "a a a"},
		{"by tags", []string{of("", allowWeb, action(dev, "Deny"))}, "a - -"},
		{"by service and tags", []string{of("", action("{kind: MeshServiceSubset, name: web, tags: {env: \"*\"}}", "Allow"))}, "- a -"},
		{"shadow lets in", []string{of("", allow, action(dev, "AllowWithShadowDeny"))}, "a s a"},
		{"the first by name goes before", []string{of("", deny), of("", allow)}, "- - -"},
		{"... whatever it says", []string{of("", allowWeb), of("", deny)}, "a a -"},
		{"a service before the mesh", []string{of("", deny), of("{kind: MeshService, name: backend}", allowWeb)}, "a a -"},
		{"a subset of a service before it", []string{
			of("{kind: MeshService, name: backend}", allow), of("{kind: MeshServiceSubset, name: backend, tags: {version: \"1\"}}", denyWeb)}, "- - a"},
		{"a subset before a Dataplane", []string{
			of("{kind: Dataplane, name: backend-1}", allow), of("{kind: MeshSubset, tags: {version: \"*\"}}", denyWeb)}, "- - a"},
		{"of subsets the first by name, whatever their tags", []string{
			of("{kind: MeshSubset, tags: {version: \"*\"}}", denyWeb), of("{kind: MeshSubset, tags: {kuma.io/service: backend}}", allow)}, "- - a"},
		{"a Dataplane before the mesh", []string{of("", deny), of("{kind: Dataplane, labels: {app: backend}}", allowWeb)}, "a a -"},
		{"a port before all ports", []string{
			of("{kind: Dataplane, name: backend-1}", deny), of("{kind: Dataplane, sectionName: \"1000\"}", allowWeb)}, "a a -"},
		{"a name before labels", []string{
			of("{kind: Dataplane, labels: {app: backend}}", deny), of("{kind: Dataplane, name: backend-1}", allowWeb)}, "a a -"},
		{"not for others", []string{
			of("{kind: MeshService, name: db}", deny), of("{kind: MeshSubset, tags: {version: \"2\"}}", deny), of("", allow)}, "a a a"},
		{"nor for other Dataplanes", []string{
			of("{kind: Dataplane, labels: {app: db}}", deny), of("{kind: Dataplane, name: backend-2}", deny),
			of("{kind: Dataplane, sectionName: \"1001\"}", allowWeb), of("", allow)}, "a a a"},
		{"exactly one identity", []string{rules("Exact", "allow", "spiffe://default/web")}, "a a -"},
		{"identities that begin alike", []string{rules("Prefix", "allow", "spiffe://default/w")}, "a a -"},
		{"all identities", []string{rules("Prefix", "allow", "spiffe://default")}, "a a a"},
		{"deny of rules goes before allow", []string{
			rules("Prefix", "allow", "spiffe://default/"), rules("Exact", "deny", "spiffe://default/web")}, "- - a"},
		{"... of a more specific one, too", []string{
			"targetRef: {kind: MeshService, name: backend}\n" + rules("Prefix", "allow", "spiffe://default/"), rules("Prefix", "deny", "spiffe://default/we")}, "- - a"},
		{"... and before from", []string{of("", allow), rules("Exact", "deny", "spiffe://default/web")}, "- - a"},
		{"deny of from goes before allow of rules", []string{rules("Prefix", "allow", "spiffe://default/"), of("", denyWeb)}, "- - a"},
		{"rules and from each let in", []string{rules("Exact", "allow", "spiffe://default/api"), of("", allowWeb)}, "a a a"},
		{"shadow of rules", []string{
			rules("Prefix", "allow", "spiffe://default/"), rules("Exact", "allowWithShadowDeny", "spiffe://default/web")}, "s s a"},
		{"none is for it", []string{of("{kind: MeshService, name: db}", allow)}, "t t t"},
	} {
		var all []*policy.MeshTrafficPermission
		for i, spec := range c.specs {
			p := mtp(t, string(rune('a'+i)), spec)
			if err := p.Validate(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			all = append(all, p)
		}
		for range 2 { // in any order
			slices.Reverse(all)
			if got := letIn(all); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	}
}

// letIn says of web, web with env=dev, and api whether they get in at backendOne: "a" that they do, "s" that they do with
// doubt, "t" that they do by the TrafficPermission that is there as well, and "-" that they do not.
func letIn(all []*policy.MeshTrafficPermission) string {
	d := backendOne()
	in := &d.Networking.Inbound[0]
	old := from("old", 0, []tags{service("*")}, service("*"))
	permissions := policy.NewPermissions([]*policy.TrafficPermission{old}, all)
	var got []string
	for _, peer := range []policy.Peer{{Service: "web"}, {Service: "web", Tags: map[string][]string{"env": {"dev"}}}, {Service: "api"}} {
		r := policy.Rule(secured(), permissions, peer, d, in)
		switch {
		case r.Allowed && r.Merged == nil:
			got = append(got, "t")
		case r.Allowed && slices.ContainsFunc(r.Merged.ShadowDenied(), func(s policy.Source) bool { return s.Admits(peer) }):
			got = append(got, "s")
		case r.Allowed:
			got = append(got, "a")
		default:
			got = append(got, "-")
		}
	}
	return strings.Join(got, " ")
}

// district is random Dataplanes and MeshTrafficPermissions.
func district(t *testing.T, r *rand.Rand, services, permissions int) (policy.Permissions, []*policy.Dataplane) {
	t.Helper()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	name := func() string { return fmt.Sprintf("s%d", r.IntN(services)) }
	subset := func() string {
		return "{" + pick("", "kuma.io/service: "+name()+", ") + pick(`version: "1"`, `version: "*"`, "env: a", "env: A") + "}"
	}
	ref := func() string {
		switch r.IntN(4) {
		case 0:
			return "{kind: Mesh}"
		case 1:
			return "{kind: MeshService, name: " + name() + "}"
		case 2:
			return "{kind: MeshServiceSubset, name: " + name() + ", tags: {" + pick(`version: "2"`, "env: a") + "}}"
		}
		return "{kind: MeshSubset, tags: " + subset() + "}"
	}
	id := func() string {
		return "[{spiffeID: " + pick("{type: Exact, value: spiffe://default/"+name()+"}",
			"{type: Prefix, value: spiffe://default/s}", "{type: Prefix, value: spiffe://default/s1}") + "}]"
	}
	var all []*policy.MeshTrafficPermission
	for i := range permissions {
		spec := "targetRef: " + pick(ref(), ref(), ref(), "{kind: Dataplane, labels: {app: x}}", fmt.Sprintf("{kind: Dataplane, name: dp-%d}", r.IntN(services))) + "\n"
		if r.IntN(3) == 0 {
			spec += fmt.Sprintf("rules: [{default: {%s: %s}}]", pick("allow", "allow", "deny", "allowWithShadowDeny"), id())
		} else {
			var from []string
			for range 1 + r.IntN(3) {
				from = append(from, fmt.Sprintf("{targetRef: %s, default: {action: %s}}", ref(), pick("Allow", "Allow", "Deny", "AllowWithShadowDeny")))
			}
			spec += "from: [" + strings.Join(from, ", ") + "]"
		}
		all = append(all, mtp(t, fmt.Sprint("p", i), spec))
		if err := all[i].Validate(); err != nil {
			t.Fatal(err)
		}
	}
	old, dataplanes := world(r, services, 3)
	for _, d := range dataplanes {
		if r.IntN(2) == 0 {
			d.Labels = map[string]string{"app": "x"}
		}
	}
	return policy.NewPermissions(old, all), dataplanes
}

// Whom the sources let in that a filter is made of is whom the rules let in, for all services together and for each; and so is
// what a dry run goes by.
func TestAdmittedOfMerged(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(31, 4))
	in, out := 0, 0
	for range 60 {
		permissions, dataplanes := district(t, r, 12, 8)
		reach := policy.NewReach(secured(), permissions, dataplanes)
		for _, a := range dataplanes {
			peer := a.Peer(a.Services()[0])
			for _, b := range dataplanes[:8] {
				to := &b.Networking.Inbound[0]
				ruling := policy.Rule(secured(), permissions, peer, b, to)
				verdict := reach.Verdict(peer.Service, to.Service())
				if ruling.Allowed && verdict == policy.Denied || !ruling.Allowed && verdict == policy.Allowed {
					t.Fatalf("%v to %s: %v, and the verdict is %s", peer, b.Name, ruling, verdict)
				}
				if cause := ruling.Explain(peer, to.Tags); (cause.Code == policy.CausePermitted) != ruling.Allowed || strings.HasSuffix(cause.Why, ": ") {
					t.Fatalf("%+v of %v", cause, ruling)
				}
				if ruling.Merged == nil {
					continue
				}
				sources := ruling.Merged.Admitted()
				for _, of := range [][]policy.Source{sources, policy.Narrow(sources, peer.Service)} {
					if got := slices.ContainsFunc(of, func(s policy.Source) bool { return s.Admits(peer) }); got != ruling.Allowed {
						t.Fatalf("%v to %s is let in %v, want %v\nby %v\nof %s", peer, b.Name, got, ruling.Allowed, ruling, text(of))
					}
				}
				if doubted := slices.ContainsFunc(ruling.Merged.ShadowDenied(), func(s policy.Source) bool { return s.Admits(peer) }); doubted && !ruling.Allowed {
					t.Fatalf("%v to %s: doubted and denied", peer, b.Name)
				}
				if ruling.Allowed {
					in++
				} else {
					out++
				}
			}
		}
	}
	if in < 1000 || out < 1000 {
		t.Errorf("%d were let in, and %d not: the test shows little", in, out)
	}
}

// Sources are in one form: what comes to the same in other words is the same, and what a deny takes away is said once.
func TestExceptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, want string }{
		{"Mesh Allow, web Deny", "* but not (web)"},
		{"Mesh Allow, web Deny, web Deny", "* but not (web)"},
		{"Mesh Allow, web Deny, env=a Deny", "* but not (* env=a) but not (web)"},
		{"web Allow, api Deny", "web"},
		{"web Allow, env=a Deny", "web but not (web env=a)"},
		{"env=a Allow, env=* Deny", ""},
		{"web Allow, Mesh Deny", ""},
		{"Mesh Allow, web Deny, web Allow", "*"},
		{"Mesh Allow, Mesh Deny, web Allow", "web"},
		{"web Allow, env=a Deny, web Allow", "web"},
	} {
		var from []string
		for _, item := range strings.Split(c.from, ", ") {
			who, action, _ := strings.Cut(item, " ")
			ref := "{kind: MeshService, name: " + who + "}"
			if who == "Mesh" {
				ref = "{kind: Mesh}"
			} else if k, v, ok := strings.Cut(who, "="); ok {
				ref = fmt.Sprintf("{kind: MeshSubset, tags: {%s: %q}}", k, v)
			}
			from = append(from, fmt.Sprintf("{targetRef: %s, default: {action: %s}}", ref, action))
		}
		d := backendOne()
		permissions := policy.NewPermissions(nil, []*policy.MeshTrafficPermission{mtp(t, "p", "from: ["+strings.Join(from, ", ")+"]")})
		if got := text(permissions.Merge(d, &d.Networking.Inbound[0]).Admitted()); got != c.want {
			t.Errorf("%s: %s, want %s", c.from, got, c.want)
		}
	}
}

// What is suggested where MeshTrafficPermissions decide is one more of them, unless a Deny would go before it.
func TestSuggestMerged(t *testing.T) {
	t.Parallel()
	d := backendOne()
	dataplanes := []*policy.Dataplane{d, proxy("web-1", service("web")), proxy("api-1", service("api"))}
	suggest := func(spec string) (policy.Resource, bool) {
		all := []*policy.MeshTrafficPermission{mtp(t, "api-in", spec)}
		return policy.Suggest(secured(), policy.NewPermissions(nil, all), dataplanes, "web", d, &d.Networking.Inbound[0])
	}
	r, alone := suggest("from: [{targetRef: {kind: MeshService, name: api}, default: {action: Allow}}]")
	p, ok := r.(*policy.MeshTrafficPermission)
	if !ok || !alone || p.Validate() != nil || p.Name != "web-to-backend" || p.Spec.TargetRef.Name != "backend" {
		t.Errorf("suggested %+v, alone %v", r, alone)
	}
	if r, alone := suggest("rules: [{default: {deny: [{spiffeID: {type: Exact, value: spiffe://default/web}}]}}]"); alone {
		t.Errorf("against a Deny: %+v", r)
	}
}
