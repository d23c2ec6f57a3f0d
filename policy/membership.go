package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Constraints say what may be in a mesh.
type Constraints struct {
	DataplaneProxy *Membership `json:"dataplaneProxy,omitempty"`
}

// Membership says which Dataplanes may be in a mesh: those whose inbounds, or gateway, each fit one of the requirements
// at least, if there are any, and none of the restrictions.
type Membership struct {
	Requirements []TagRule `json:"requirements,omitempty"`
	Restrictions []TagRule `json:"restrictions,omitempty"`
}

// TagRule fits whoever has all of its tags. The value [Any] stands for every value.
type TagRule struct {
	Tags map[string]string `json:"tags"`
}

// NotMember is why a Dataplane may not be in its mesh.
type NotMember struct {
	Dataplane Key
	At        string // which tags it is about, as a field of the Dataplane
	Rule      string // which rule they break, as a field of the Mesh; all requirements if they fit none
	Tags      string // what the rule says; "" for all requirements
}

// Error implements error.
func (e *NotMember) Error() string {
	what := fmt.Sprintf("fits none of %s", e.Rule)
	if e.Tags != "" {
		what = fmt.Sprintf("fits %s: %s", e.Rule, e.Tags)
	}
	return fmt.Sprintf("%s may not be in its mesh: %s %s; change its tags, or the constraints of the mesh", e.Dataplane, e.At, what)
}

const membershipField = "constraints.dataplaneProxy"

// Admit is nil if the Dataplane may be in the mesh, and else a [*NotMember].
func (m *Mesh) Admit(d *Dataplane) error {
	if m.Constraints == nil || m.Constraints.DataplaneProxy == nil {
		return nil
	}
	rules := m.Constraints.DataplaneProxy
	for i, tags := range d.TagSets() {
		at := fmt.Sprintf("networking.inbound[%d]", i)
		if d.Networking.Gateway != nil {
			at = "networking.gateway"
		}
		fits := func(r TagRule) bool {
			_, ok := (&Selector{r.Tags}).rank(tags)
			return ok
		}
		if len(rules.Requirements) > 0 && !slices.ContainsFunc(rules.Requirements, fits) {
			return &NotMember{Dataplane: d.Key(), At: at, Rule: membershipField + ".requirements"}
		}
		if j := slices.IndexFunc(rules.Restrictions, fits); j >= 0 {
			return &NotMember{d.Key(), at, fmt.Sprintf("%s.restrictions[%d]", membershipField, j), rules.Restrictions[j].String()}
		}
	}
	return nil
}

// String is the tags in order: "env=prod, version=*".
func (r TagRule) String() string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
		pairs = append(pairs, k+"="+r.Tags[k])
	}
	return strings.Join(pairs, ", ")
}

func (p *problems) checkConstraints(c *Constraints) {
	if c == nil || c.DataplaneProxy == nil {
		return
	}
	check := func(field string, rules []TagRule) {
		for i, r := range rules {
			p.checkMatch(fmt.Sprintf("%s.%s[%d].tags", membershipField, field, i), r.Tags)
		}
	}
	check("requirements", c.DataplaneProxy.Requirements)
	check("restrictions", c.DataplaneProxy.Restrictions)
}
