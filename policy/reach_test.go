package policy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// secured is a mesh with mTLS.
func secured() *policy.Mesh {
	return &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"},
		MTLS: &policy.MTLS{EnabledBackend: "ca", Backends: []policy.Backend{{Name: "ca", Type: "builtin"}}}}
}

// only are permissions without MeshTrafficPermissions.
func only(permissions ...*policy.TrafficPermission) policy.Permissions {
	return policy.NewPermissions(permissions, nil)
}

// ruled is the ruling about a peer at the first inbound of a Dataplane.
func ruled(m *policy.Mesh, permissions []*policy.TrafficPermission, peer policy.Peer, d *policy.Dataplane) policy.Ruling {
	return policy.Rule(m, only(permissions...), peer, d, &d.Networking.Inbound[0])
}

func service(name string, more ...string) tags {
	all := tags{policy.TagService: name}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// from is a permission with these sources, for those destinations.
func from(name string, age int, sources []tags, destinations ...tags) *policy.TrafficPermission {
	p := permission(name, age, destinations...)
	p.Sources = allowing(sources...).Sources
	return p
}

// A verdict is about all instances of both services, and says which permission it comes from.
func TestReach(t *testing.T) {
	t.Parallel()
	dataplanes := []*policy.Dataplane{
		proxy("web-1", service("web", "version", "1")), proxy("web-2", service("web", "version", "2")),
		proxy("db-1", service("db", "env", "a")), proxy("db-2", service("db", "env", "b")),
		proxy("api-1", service("api")),
	}
	permissions := []*policy.TrafficPermission{
		from("by-version", 0, []tags{service("api"), service("web", "version", "2")}, service("api")),
		from("db-all", 0, []tags{service("web"), service("api")}, service("db")),
		from("db-b", 0, []tags{service("web")}, service("db", "env", "b")),
	}
	r := policy.NewReach(secured(), only(permissions...), dataplanes)
	for _, test := range []struct {
		from, to string
		want     policy.Verdict
		why      string
	}{
		{"web", "db", policy.Allowed, `web-1 to db-1: let in by sources[0] of TrafficPermission "db-all"; web-1 to db-2: let in by sources[0] of TrafficPermission "db-b"; ` +
			`web-2 to db-1: let in by sources[0] of TrafficPermission "db-all"; web-2 to db-2: let in by sources[0] of TrafficPermission "db-b"`},
		{"api", "db", policy.Partly, `api-1 to db-1: let in by sources[1] of TrafficPermission "db-all"; api-1 to db-2: TrafficPermission "db-b" decides, and none of its sources fits`},
		{"web", "api", policy.Partly, `web-1 to api-1: TrafficPermission "by-version" decides, and none of its sources fits; web-2 to api-1: let in by sources[1] of TrafficPermission "by-version"`},
		{"api", "api", policy.Allowed, `let in by sources[0] of TrafficPermission "by-version"`},
		{"db", "api", policy.Denied, `db-1 to api-1: TrafficPermission "by-version" decides, and none of its sources fits; db-2 to api-1: TrafficPermission "by-version" decides, and none of its sources fits`},
		{"api", "web", policy.Denied, `no TrafficPermission is for it`},
		{"api", "nobody", policy.Denied, "there is no Dataplane for one of them"},
	} {
		if got := r.Verdict(test.from, test.to); got != test.want {
			t.Errorf("%s to %s: %s, want %s", test.from, test.to, got, test.want)
		}
		if got := r.Why(test.from, test.to); got != test.why && !allSame(r, test.from, test.to, test.why) {
			t.Errorf("%s to %s:\n got %s\nwant %s", test.from, test.to, got, test.why)
		}
	}
	off := policy.NewReach(&policy.Mesh{}, only(), dataplanes)
	if off.Verdict("db", "web") != policy.Allowed || off.Why("api", "api") != "mTLS is off" {
		t.Errorf("without mTLS: %s, %s", off.Verdict("db", "web"), off.Why("api", "api"))
	}
}

// allSame reports whether all cases of a pair have one reason, which is then said once.
func allSame(r *policy.Reach, from, to, why string) bool {
	for _, c := range r.Cases(from, to) {
		if c.String() != r.Why(from, to) {
			return false
		}
	}
	return len(r.Cases(from, to)) > 0
}

// What changes between two moments is named, and nothing else.
func TestChanges(t *testing.T) {
	t.Parallel()
	dataplanes := []*policy.Dataplane{proxy("web-1", service("web")), proxy("api-1", service("api")), proxy("db-1", service("db"))}
	old := from("p", 0, []tags{service("web")}, service("db"))
	before := policy.NewReach(secured(), only(old), dataplanes)
	after := policy.NewReach(secured(), only(old, from("q", 1, []tags{service("api")}, service("db"))), dataplanes)
	want := []policy.Change{
		{Source: "api", Destination: "db", Before: policy.Denied, After: policy.Allowed, Why: `let in by sources[0] of TrafficPermission "q"`},
		{Source: "web", Destination: "db", Before: policy.Allowed, After: policy.Denied, Why: `TrafficPermission "q" decides, and none of its sources fits`},
	}
	if diff := cmp.Diff(want, policy.Changes(before, after)); diff != "" {
		t.Error(diff)
	}
	if same := policy.Changes(before, before); same != nil {
		t.Errorf("from itself: %v", same)
	}
	if n := len(policy.Changes(before, policy.NewReach(&policy.Mesh{}, only(), dataplanes))); n != 8 {
		t.Errorf("with mTLS off %d of 9 pairs change, want 8", n)
	}
	shut := constrained(nil, []tags{{policy.TagService: "web"}})
	shut.MTLS = secured().MTLS
	gone := policy.Changes(before, policy.NewReach(shut, only(old), dataplanes))
	if len(gone) != 1 || gone[0].Source != "web" || gone[0].After != policy.Denied {
		t.Errorf("with web put out: %v", gone)
	}
}

// world is random Dataplanes and permissions over a few services and tags.
func world(r *rand.Rand, services, permissions int) ([]*policy.TrafficPermission, []*policy.Dataplane) {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	name := func() string { return fmt.Sprintf("s%d", r.IntN(services)) }
	selector := func() tags {
		s := tags{policy.TagService: name()}
		if r.IntN(4) == 0 {
			s[policy.TagService] = "*"
		}
		if r.IntN(3) == 0 {
			s["version"] = pick("1", "2", "*")
		}
		if r.IntN(6) == 0 {
			delete(s, policy.TagService)
			s["env"] = pick("a", "A", "*")
		}
		return s
	}
	var ps []*policy.TrafficPermission
	for i := range permissions {
		ps = append(ps, from(fmt.Sprint("p", i), r.IntN(5), []tags{selector(), selector()}, selector(), selector()))
	}
	var ds []*policy.Dataplane
	for i := range services * 2 {
		in := service(fmt.Sprintf("s%d", i/2), "version", pick("1", "2", "3"))
		if r.IntN(2) == 0 {
			in["env"] = pick("a", "A")
		}
		ds = append(ds, proxy(fmt.Sprint("dp-", i), in))
	}
	return ps, ds
}

// The quick answers for pairs are what the rules say of each peer and each inbound.
func TestReachIsTheRules(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		permissions, dataplanes := world(r, 5, 8)
		reach := policy.NewReach(secured(), only(permissions...), dataplanes)
		for _, a := range dataplanes {
			for _, b := range dataplanes {
				peer, in := a.Peer(a.Services()[0]), b.Networking.Inbound[0].Tags
				want := ruled(secured(), permissions, peer, b)
				verdict := reach.Verdict(peer.Service, in[policy.TagService])
				if want.Allowed && verdict == policy.Denied || !want.Allowed && verdict == policy.Allowed {
					t.Fatalf("%v to %v: %v, and the verdict is %s", peer, in, want, verdict)
				}
				for _, c := range reach.Cases(peer.Service, in[policy.TagService]) {
					if cmp.Equal(c.Peer, peer) && cmp.Equal(c.Inbound, in) && c.Ruling != want {
						t.Fatalf("%v to %v: %v, want %v", peer, in, c.Ruling, want)
					}
				}
			}
		}
	}
}

// What is suggested lets the service in where it is to be let in, and as a rule does nothing else.
func TestSuggest(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	clean := 0
	for i := range 300 {
		permissions, dataplanes := world(r, 4, 5)
		d := dataplanes[r.IntN(len(dataplanes))]
		in, who := d.Networking.Inbound[0].Tags, fmt.Sprintf("s%d", r.IntN(4))
		suggested, alone := policy.Suggest(secured(), only(permissions...), dataplanes, who, d, &d.Networking.Inbound[0])
		p := suggested.(*policy.TrafficPermission)
		if err := p.Validate(); err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		after := []*policy.TrafficPermission{p}
		p.CreationTime = time.Unix(100, 0)
		for _, o := range permissions {
			if o.Name != p.Name {
				after = append(after, o)
			} else {
				p.CreationTime = o.CreationTime
			}
		}
		if alone {
			clean++
		}
		for _, source := range dataplanes {
			peer := source.Peer(source.Services()[0])
			if !ruled(secured(), after, peer, d).Allowed && peer.Service == who {
				t.Fatalf("%d: %s is not let in at %v by %+v", i, who, in, p)
			}
			for _, destination := range dataplanes {
				tags := destination.Networking.Inbound[0].Tags
				was, is := ruled(secured(), permissions, peer, destination), ruled(secured(), after, peer, destination)
				if alone && was.Allowed && !is.Allowed {
					t.Fatalf("%d: it takes %v to %v away\nsuggested %+v", i, peer, tags, p)
				}
				if alone && !was.Allowed && is.Allowed && (peer.Service != who || tags[policy.TagService] != in[policy.TagService]) {
					t.Fatalf("%d: it lets in %v at %v\nsuggested %+v", i, peer, tags, p)
				}
			}
		}
	}
	if clean < 250 {
		t.Errorf("%d of 300 suggestions do nothing else", clean)
	}
	backend := proxy("b", service("backend"))
	p, _ := policy.Suggest(secured(), only(), nil, "Not.A_Name", backend, &backend.Networking.Inbound[0])
	if name := p.Metadata().Name; name != "not-a-name-to-backend" {
		t.Errorf("the name is %q", name)
	}
}

func BenchmarkSuggest(b *testing.B) {
	permissions, dataplanes := world(rand.New(rand.NewPCG(7, 8)), 1000, 1000)
	b.ReportAllocs()
	for b.Loop() {
		policy.Suggest(secured(), only(permissions...), dataplanes, "s1", dataplanes[100], &dataplanes[100].Networking.Inbound[0])
	}
}

func BenchmarkChanges(b *testing.B) {
	permissions, dataplanes := world(rand.New(rand.NewPCG(7, 8)), 1000, 1000)
	b.ReportAllocs()
	for b.Loop() {
		before := policy.NewReach(secured(), only(permissions[1:]...), dataplanes)
		policy.Changes(before, policy.NewReach(secured(), only(permissions...), dataplanes))
	}
}
