package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/policy"
)

// edict is the spec of a MeshTrafficPermission with elements of from that let in services, and deny or doubt tags.
func edict(allowed, denied int, action policy.Action) string {
	var from []string
	for i := range allowed {
		from = append(from, fmt.Sprintf("{targetRef: {kind: MeshService, name: s%d}, default: {action: Allow}}", i))
	}
	for i := range denied {
		from = append(from, fmt.Sprintf("{targetRef: {kind: MeshSubset, tags: {k: v%d}}, default: {action: %s}}", i, action))
	}
	return "from: [" + strings.Join(from, ", ") + "]"
}

// What a proxy would be given without end is refused: what is denied by tags is taken from each of those who are let in. It is
// refused soon, and nothing is made for it.
func TestMatchersAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec string
		ok   bool
	}{
		{edict(49, 50, policy.Deny), true},   // 49 * (1 + 50*2)
		{edict(50, 50, policy.Deny), false},  // 50 * (1 + 50*2)
		{edict(50, 49, policy.Deny), true},   // 50 * (1 + 49*2)
		{edict(5000, 0, policy.Deny), true},  // 5000
		{edict(5001, 0, policy.Deny), false}, // more elements than that
		{edict(0, 5000, policy.Deny), true},  // nobody is let in
		{edict(2000, 2000, policy.Deny), false},
		{edict(16, 100, policy.ShadowDeny), true},
		{edict(2400, 1400, policy.ShadowDeny), false}, // 1400*2 and 2400, and again what is doubted
	} {
		begin := time.Now()
		p := mtp(t, "p", c.spec)
		err := p.Validate()
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "5000") {
			t.Errorf("%s...: %v, want ok %v", c.spec[:60], err, c.ok)
		}
		d := backendOne()
		all := policy.NewPermissions(nil, []*policy.MeshTrafficPermission{p})
		merged := all.Merge(d, &d.Networking.Inbound[0])
		if err := merged.Check(); (err == nil) != c.ok {
			t.Errorf("%s...: %v, want ok %v", c.spec[:60], err, c.ok)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if !c.ok || len(c.spec) > 50_000 {
			continue
		}
		n := 0
		for _, s := range append(merged.Admitted(), merged.ShadowDenied()...) {
			n += 1 + len(s.Tags)
			for _, e := range s.Except {
				n += 1 + len(e.Tags)
			}
		}
		if n > policy.MaxMatchers {
			t.Errorf("%s...: it passes, and comes to %d", c.spec[:60], n)
		}
	}
}

// A TrafficPermission has its bound by itself.
func TestSourcesAreBounded(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{2500: true, 2501: false} {
		p := &policy.TrafficPermission{
			Meta:         policy.Meta{Type: policy.TypeTrafficPermission, Mesh: "default", Name: "p"},
			Destinations: []policy.Selector{{Match: map[string]string{policy.TagService: "backend"}}},
		}
		for i := range n {
			p.Sources = append(p.Sources, policy.Selector{Match: map[string]string{policy.TagService: fmt.Sprint("s", i), "version": "2"}})
		}
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("%d sources: %v, want ok %v", n, err, ok)
		}
	}
}
