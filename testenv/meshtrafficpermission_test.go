package testenv_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/testenv"
)

// merged is a MeshTrafficPermission in YAML, its spec in YAML as well.
func merged(name, spec string) string {
	return fmt.Sprintf("type: MeshTrafficPermission\nmesh: default\nname: %s\nspec:\n  %s\n", name, strings.ReplaceAll(spec, "\n", "\n  "))
}

// quarter is a mesh with one proxy that serves HTTP and TCP, and three that dial it: two of one service, one of which is for
// development.
type quarter struct {
	town
	h *hearing
}

func newQuarter(t *testing.T) quarter {
	t.Helper()
	m := testenv.New(t, testenv.Options{MTLS: true, Drain: drain})
	dials := []string{"backend", "db"}
	all := m.Start(
		testenv.Proxy{Serves: []string{"backend", "db:tcp"}, Tags: map[string]string{"version": "1"}},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials},
		testenv.Proxy{Serves: []string{"web"}, Dials: dials, Name: "web-dev", Tags: map[string]string{"env": "dev"}},
		testenv.Proxy{Serves: []string{"web-mobile"}, Dials: dials},
	)
	return quarter{town{m, all[0], all[1], all[2], all[3]}, &hearing{m, t, map[string]bool{}}}
}

// judges applies a MeshTrafficPermission and waits until web, web-dev and web-mobile are judged as it says.
func (q quarter) judges(t *testing.T, name, spec string, web, dev, mobile bool) {
	t.Helper()
	q.Kumactl("apply", "--wait", "-f", q.File(merged(name, spec)))
	for _, c := range []struct {
		who *testenv.Sidecar
		in  bool
	}{{q.web, web}, {q.intruder, dev}, {q.mobile, mobile}} {
		q.judged(t, c.who, c.in)
	}
}

// What from and rules say holds at real Envoys, before any TrafficPermission; and who loses what was permitted loses the
// connections, and nobody else does.
func TestMeshTrafficPermissions(t *testing.T) {
	t.Parallel()
	q := newQuarter(t)
	q.permit("old", "*")
	q.judged(t, q.mobile, true)
	toBackend := q.h.through(q.web, "backend")
	q.judges(t, "all", "from: [{targetRef: {kind: MeshService, name: web}, default: {action: Allow}}]", true, true, false)
	q.h.named("nothing is for it", ask{"web-mobile", "backend", q.h.through(q.mobile, "backend"), false, policy.CauseNotAmongSources, "meshtrafficpermission all decides"})

	// A subset by its tags.
	q.judges(t, "no-dev", "targetRef: {kind: MeshSubset, tags: {version: \"1\"}}\n"+
		"from: [{targetRef: {kind: MeshSubset, tags: {env: dev}}, default: {action: Deny}}]", true, false, false)
	q.h.named("let in", ask{"proxy:web-1", "backend", toBackend, true, policy.CausePermitted, `meshtrafficpermission all, from\[0\] \(web\): Allow`})
	q.h.named("denied", ask{"proxy:web-dev", "backend", q.h.through(q.intruder, "backend"), false, policy.CauseDenied, `meshtrafficpermission no-dev, from\[0\]`})

	// Identities, and those that begin alike.
	q.judges(t, "all", "rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://default/web}}]}}]", true, false, true)
	webHTTP, webTCP := stream(t, q.web.Out("backend")), hold(t, q.web.Out("db"))
	mobileHTTP, mobileTCP := stream(t, q.mobile.Out("backend")), hold(t, q.mobile.Out("db"))
	begin := time.Now()
	q.judges(t, "no-mobile", "rules: [{default: {deny: [{spiffeID: {type: Exact, value: spiffe://default/web-mobile}}]}}]", true, false, false)
	isCut(t, "web-mobile's HTTP stream", mobileHTTP, begin, drain+time.Second)
	isCut(t, "web-mobile's TCP connection", mobileTCP, begin, drain+time.Second)
	staysOpen(t, begin.Add(2*drain), map[string]*testenv.Stream{"web's HTTP stream": webHTTP, "web's TCP connection": webTCP})

	// Without the one that lets in, the others stand alone, and they let in nobody; without any, the old ones count again.
	begin = time.Now()
	q.Kumactl("delete", "meshtrafficpermission", "all", "--mesh=default")
	isCut(t, "web's HTTP stream", webHTTP, begin, drain+time.Second)
	isCut(t, "web's TCP connection", webTCP, begin, drain+time.Second)
	q.judged(t, q.web, false)
	q.Kumactl("delete", "meshtrafficpermission", "no-mobile", "--mesh=default")
	q.Kumactl("delete", "meshtrafficpermission", "no-dev", "--mesh=default")
	q.judged(t, q.mobile, true)
	q.h.named("the old one", ask{"web-mobile", "backend", q.h.through(q.mobile, "backend"), true, policy.CausePermitted, "traffic-permission old-backend"})

	// Those let in with doubt are written down, those without are not.
	q.judges(t, "doubt", "targetRef: {kind: Dataplane, name: backend-1, proxyTypes: [Sidecar]}\nfrom:\n"+
		"- {targetRef: {kind: Mesh}, default: {action: Allow}}\n"+
		"- {targetRef: {kind: MeshSubset, tags: {env: \"*\"}}, default: {action: AllowWithShadowDeny}}", true, true, true)
	doubts := regexp.MustCompile(`msg="would be denied" peer=spiffe://default/([a-z-]+) .* reason=shadow-denied .* permission=doubt `)
	eventually(t, 10*time.Second, "a line about web-dev", func() error {
		found := doubts.FindAllStringSubmatch(q.backend.Output(), -1)
		if len(found) == 0 || slices.ContainsFunc(found, func(m []string) bool { return m[1] != "web" }) {
			return fmt.Errorf("found %q", found)
		}
		return nil
	})
}

// edicts is random MeshTrafficPermissions, for some of twenty services.
func edicts(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	name := func() string { return fmt.Sprintf("s%d", r.IntN(20)) }
	subset := func() string { return pick(`version: "1"`, `version: "2"`, "env: a", "env: A", `env: "*"`) }
	ref := func() string {
		return pick("{kind: Mesh}", "{kind: MeshService, name: "+name()+"}", "{kind: MeshSubset, tags: {"+subset()+"}}",
			"{kind: MeshServiceSubset, name: "+fmt.Sprintf("s%d", r.IntN(5))+", tags: {"+subset()+"}}")
	}
	var all []string
	for i := range 8 {
		spec := "targetRef: " + pick(ref(), ref(), fmt.Sprintf("{kind: Dataplane, name: proxy-%d}", r.IntN(5))) + "\n"
		if i%3 == 0 {
			id := pick("{type: Exact, value: spiffe://default/"+name()+"}", "{type: Prefix, value: spiffe://default/s1}")
			spec += fmt.Sprintf("rules: [{default: {%s: [{spiffeID: %s}]}}]", pick("allow", "deny"), id)
		} else {
			var from []string
			for range 1 + r.IntN(3) {
				from = append(from, fmt.Sprintf("{targetRef: %s, default: {action: %s}}", ref(), pick("Allow", "Allow", "Deny", "AllowWithShadowDeny")))
			}
			spec += "from: [" + strings.Join(from, ", ") + "]"
		}
		all = append(all, merged(fmt.Sprintf("m%d", i), spec))
	}
	return strings.Join(all, "---\n")
}
