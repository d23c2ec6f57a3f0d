package policy_test

import (
	"strings"
	"testing"

	"koguma/policy"
)

// constrained is a mesh with these requirements and restrictions.
func constrained(requirements, restrictions []tags) *policy.Mesh {
	rules := func(all []tags) (of []policy.TagRule) {
		for _, t := range all {
			of = append(of, policy.TagRule{Tags: t})
		}
		return of
	}
	return &policy.Mesh{
		Meta: policy.Meta{Type: policy.TypeMesh, Name: "default"},
		Constraints: &policy.Constraints{DataplaneProxy: &policy.Membership{
			Requirements: rules(requirements), Restrictions: rules(restrictions),
		}},
	}
}

// Each inbound has to fit a requirement, if there are any, and no restriction.
func TestMembership(t *testing.T) {
	t.Parallel()
	a, b := tags{policy.TagService: "a", "env": "prod"}, tags{policy.TagService: "b"}
	gateway := proxy("g")
	gateway.Networking.Gateway = &policy.Gateway{Tags: b}
	for _, test := range []struct {
		name                       string
		requirements, restrictions []tags
		dataplane                  *policy.Dataplane
		want                       string // part of the error
	}{
		{"nothing said", nil, nil, proxy("a", a, b), ""},
		{"required", []tags{{"env": "prod"}}, nil, proxy("a", a), ""},
		{"any value", []tags{{"env": "*"}}, nil, proxy("a", a), ""},
		{"one of several", []tags{{"env": "dev"}, {policy.TagService: "a"}}, nil, proxy("a", a), ""},
		{"another value", []tags{{"env": "dev"}}, nil, proxy("a", a), "networking.inbound[0] fits none of constraints.dataplaneProxy.requirements"},
		{"one inbound does not", []tags{{"env": "*"}}, nil, proxy("a", a, b), "networking.inbound[1] fits none"},
		{"all tags of one", []tags{{"env": "prod", "team": "*"}}, nil, proxy("a", a), "fits none"},
		{"restricted", nil, []tags{{policy.TagService: "x"}, {"env": "*"}}, proxy("a", b, a),
			"networking.inbound[1] fits constraints.dataplaneProxy.restrictions[1]: env=*"},
		{"both", []tags{{"env": "*"}}, []tags{{"env": "prod"}}, proxy("a", a), "restrictions[0]: env=prod"},
		{"gateway", []tags{{"env": "*"}}, nil, gateway, "networking.gateway fits none"},
		{"gateway that may", []tags{{policy.TagService: "b"}}, nil, gateway, ""},
	} {
		err := constrained(test.requirements, test.restrictions).Admit(test.dataplane)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
	if err := (&policy.Mesh{}).Admit(proxy("a", a)); err != nil {
		t.Errorf("a mesh without constraints: %v", err)
	}
}

// Constraints that fit everybody, or nobody, by mistake are refused.
func TestConstraintsValidate(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]*policy.Mesh{
		"":                       constrained([]tags{{"env": "*"}}, []tags{{policy.TagService: "a"}}),
		"requirements[0].tags: ": constrained([]tags{{}}, nil),
		"restrictions[1].tags: ": constrained(nil, []tags{{"a": "b"}, nil}),
		"only the whole value":   constrained([]tags{{"env": "pro*"}}, nil),
		"are reserved":           constrained([]tags{{"kuma.io/servise": "a"}}, nil),
	} {
		err := m.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
