package policy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"koguma/policy"
)

// permission is one with these destinations, made that many seconds after the first.
func permission(name string, age int, destinations ...map[string]string) *policy.TrafficPermission {
	p := &policy.TrafficPermission{Meta: policy.Meta{Type: policy.TypeTrafficPermission, Mesh: "default", Name: name,
		CreationTime: time.Unix(int64(age), 0)}}
	for _, d := range destinations {
		p.Destinations = append(p.Destinations, policy.Selector{Match: d})
	}
	return p
}

type tags = map[string]string

// The most specific permission decides, then the newest, then the first by name.
func TestMatch(t *testing.T) {
	t.Parallel()
	backend := tags{policy.TagService: "backend", "version": "v1", "team": "a"}
	for _, test := range []struct {
		name        string
		permissions []*policy.TrafficPermission
		want        string
	}{
		{"none", nil, ""},
		{"no other service", []*policy.TrafficPermission{permission("a", 0, tags{policy.TagService: "web"})}, ""},
		{"no part of a name", []*policy.TrafficPermission{permission("a", 0, tags{policy.TagService: "backend-admin"}, tags{policy.TagService: "back"})}, ""},
		{"no empty selector", []*policy.TrafficPermission{permission("a", 0, tags{}), permission("b", 0)}, ""},
		{"all tags must match", []*policy.TrafficPermission{permission("a", 0, tags{policy.TagService: "backend", "version": "v2"})}, ""},
		{"any is not absent", []*policy.TrafficPermission{permission("a", 0, tags{"zone": "*"})}, ""},
		{"any", []*policy.TrafficPermission{permission("a", 0, tags{policy.TagService: "*"})}, "a"},
		{"exact before any", []*policy.TrafficPermission{
			permission("any", 9, tags{policy.TagService: "*"}), permission("exact", 0, tags{policy.TagService: "backend"})}, "exact"},
		{"more tags before exact", []*policy.TrafficPermission{
			permission("exact", 9, tags{policy.TagService: "backend"}), permission("more", 0, tags{policy.TagService: "*", "version": "*"})}, "more"},
		{"of several destinations the best counts", []*policy.TrafficPermission{
			permission("one", 9, tags{policy.TagService: "backend"}),
			permission("two", 0, tags{policy.TagService: "*"}, tags{policy.TagService: "backend", "version": "v1"}, tags{"team": "b"})}, "two"},
		{"newest", []*policy.TrafficPermission{
			permission("a", 1, tags{"team": "a"}), permission("b", 2, tags{"version": "v1"}), permission("c", 0, tags{"team": "a"})}, "b"},
		{"name", []*policy.TrafficPermission{
			permission("b", 1, tags{"team": "a"}), permission("a", 1, tags{"team": "a"}), permission("c", 1, tags{"team": "a"})}, "a"},
	} {
		got := ""
		if p := policy.Match(test.permissions, backend); p != nil {
			got = p.Name
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// The order in which permissions are given does not matter.
func TestMatchIgnoresOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	selector := func() tags {
		s := tags{policy.TagService: pick("a", "b", "*")}
		for _, k := range []string{"version", "team"} {
			if r.IntN(2) == 0 {
				s[k] = pick("1", "2", "*")
			}
		}
		return s
	}
	for range 500 {
		var all []*policy.TrafficPermission
		for i := range 12 {
			all = append(all, permission(fmt.Sprint(i), r.IntN(3), selector(), selector()))
		}
		inbound := tags{policy.TagService: pick("a", "b"), "version": pick("1", "2"), "team": pick("1", "2")}
		want := policy.Match(all, inbound)
		for range 5 {
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			if got := policy.Match(all, inbound); got != want {
				t.Fatalf("for %v: %v, and shuffled %v", inbound, want, got)
			}
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		var all []*policy.TrafficPermission
		for i := range n {
			all = append(all, permission(fmt.Sprint(i), i, tags{policy.TagService: fmt.Sprintf("service-%d", i)}))
		}
		inbound := tags{policy.TagService: fmt.Sprintf("service-%d", n/2), policy.TagProtocol: "http"}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Match(all, inbound)
			}
		})
	}
}
