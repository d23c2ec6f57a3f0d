package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// allowing is a permission with these sources.
func allowing(sources ...tags) *policy.TrafficPermission {
	p := permission("p", 0, tags{policy.TagService: "backend"})
	for _, s := range sources {
		p.Sources = append(p.Sources, policy.Selector{Match: s})
	}
	return p
}

// proxy is a Dataplane with an inbound for each of these sets of tags.
func proxy(name string, inbounds ...tags) *policy.Dataplane {
	d := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: name}}
	d.Networking.Address = "10.0.0.1"
	for i, in := range inbounds {
		d.Networking.Inbound = append(d.Networking.Inbound, policy.Inbound{Port: 1000 + i, ServicePort: 2000 + i, Tags: in})
	}
	return d
}

// A proxy is in the name of a service what all its inbounds of that service are, and a gateway what its tags say.
func TestPeer(t *testing.T) {
	t.Parallel()
	d := proxy("a",
		tags{policy.TagService: "web", "version": "2", "team": "x"},
		tags{policy.TagService: "web", "version": "1", "team": "x"},
		tags{policy.TagService: "admin", "version": "9"})
	want := policy.Peer{Service: "web", Tags: map[string][]string{"version": {"1", "2"}, "team": {"x"}}}
	if diff := cmp.Diff(want, d.Peer("web")); diff != "" {
		t.Error(diff)
	}
	g := proxy("g")
	g.Networking.Gateway = &policy.Gateway{Tags: tags{policy.TagService: "edge", "version": "1"}}
	if got := g.Peer("edge").Tags["version"]; len(got) != 1 {
		t.Errorf("the gateway has %q", got)
	}
}

// A source is all of its tags at once, and the first that fits is named.
func TestSource(t *testing.T) {
	t.Parallel()
	peer := policy.Peer{Service: "web", Tags: map[string][]string{"version": {"1", "2"}, "Team": {"x"}}}
	for _, test := range []struct {
		name    string
		sources []tags
		want    int
	}{
		{"service", []tags{{policy.TagService: "web"}}, 0},
		{"other service", []tags{{policy.TagService: "api"}}, -1},
		{"part of a service", []tags{{policy.TagService: "we"}}, -1},
		{"any service", []tags{{policy.TagService: "*"}}, 0},
		{"no service", []tags{{"version": "2"}}, 0},
		{"both", []tags{{policy.TagService: "web", "version": "2"}}, 0},
		{"one of two", []tags{{policy.TagService: "web", "version": "3"}}, -1},
		{"the other of two", []tags{{policy.TagService: "api", "version": "2"}}, -1},
		{"any value", []tags{{"version": "*", policy.TagService: "*"}}, 0},
		{"any value of what is not there", []tags{{"zone": "*"}}, -1},
		{"another case", []tags{{"team": "x"}}, -1},
		{"empty", []tags{{}}, -1},
		{"the first", []tags{{policy.TagService: "api"}, {"version": "1"}, {policy.TagService: "web"}}, 1},
	} {
		if got := allowing(test.sources...).Source(peer); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// Permissions that let in the same peers in other words come to the same, so that no connection notices the difference.
func TestAdmitted(t *testing.T) {
	t.Parallel()
	web, web2 := tags{policy.TagService: "web"}, tags{policy.TagService: "web", "version": "2"}
	for _, test := range []struct {
		name    string
		sources []tags
		want    string
	}{
		{"order", []tags{web, {policy.TagService: "api"}}, "api|web"},
		{"twice", []tags{web, web}, "web"},
		{"part of another", []tags{web2, web}, "web"},
		{"a value is part of any", []tags{web2, {policy.TagService: "web", "version": "*"}}, "web version=*"},
		{"everybody", []tags{web2, {policy.TagService: "*"}, web}, "*"},
		{"no service is any", []tags{{policy.TagService: "*", "version": "2"}, {"version": "2"}, web2}, "* version=2"},
		{"neither is part", []tags{web2, {"env": "a"}}, "* env=a|web version=2"},
	} {
		p := allowing(test.sources...)
		if got := text(p.Admitted()); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	p := allowing(web2, tags{"version": "2"}, tags{policy.TagService: "api"}, tags{policy.TagService: "*", "env": "*"})
	for service, want := range map[string]string{"web": "web env=*|web version=2", "api": "api", "db": "db env=*|db version=2"} {
		if got := text(policy.Narrow(p.Admitted(), service)); got != want {
			t.Errorf("of %s: %s, want %s", service, got, want)
		}
	}
}

func text(sources []policy.Source) string {
	var all []string
	for _, s := range sources {
		all = append(all, s.String())
	}
	return strings.Join(all, "|")
}

// A service with more tags than its certificate can name is refused, however they are spread over its inbounds.
func TestTooManyTags(t *testing.T) {
	t.Parallel()
	many := func(n int) tags {
		all := tags{policy.TagService: "web"}
		for i := range n {
			all[fmt.Sprintf("tag-%d", i)] = fmt.Sprint(n)
		}
		return all
	}
	if err := proxy("a", many(policy.MaxPeerTags)).Validate(); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
	for _, d := range []*policy.Dataplane{
		proxy("a", many(policy.MaxPeerTags+1)),
		proxy("a", many(policy.MaxPeerTags), many(1)),
	} {
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), `service "web" has 65 different tags`) {
			t.Errorf("got %v", err)
		}
	}
}
