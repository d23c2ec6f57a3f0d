package token

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"koguma/policy"
)

// Admit reports whether the Dataplane is within what the token allows: its mesh, its name if the token has one, and
// for every inbound (or the gateway) every tag of the token with one of the token's values. The error is a [Refusal].
//
// Who registers a Dataplane must be admitted to the one that is stored under its name as well as to the new one.
func (c Claims) Admit(d *policy.Dataplane) error {
	if r := c.admit(d); r != nil {
		return genuine(c, r)
	}
	return nil
}

func (c Claims) admit(d *policy.Dataplane) *Refusal {
	fix := generateFor(d)
	switch {
	case c.Workload != "":
		return refuse(ReasonWorkload, fix, "it is bound to workload %q, which is not enforced here", c.Workload)
	case c.Type != "" && c.Type != TypeDataplane:
		return refuse(ReasonType, fix, "it is of type %q, and this is a data plane proxy", c.Type)
	case c.Mesh == "" || c.Mesh != d.Mesh:
		return refuse(ReasonMesh, fix, "it is for mesh %q, and the proxy is in %q", c.Mesh, d.Mesh)
	case c.Name != "" && c.Name != d.Name:
		return refuse(ReasonName, fix, "it is for proxy %q, and this is %q", c.Name, d.Name)
	}
	if err := checkTags(c.Tags); err != nil {
		return refuse(ReasonTags, fix, "%s", err)
	}
	return c.admitTags(d, fix)
}

func (c Claims) admitTags(d *policy.Dataplane, fix string) *Refusal {
	sets := tagSets(d)
	if len(c.Tags) > 0 && len(sets) == 0 {
		return refuse(ReasonTags, fix, "it is bound to tags, and the proxy has none")
	}
	for _, set := range sets {
		for _, tag := range slices.Sorted(maps.Keys(c.Tags)) { // sorted, so that the message is always the same one
			value, ok := set.tags[tag]
			switch {
			case !ok:
				return refuse(ReasonTags, fix, "it demands the tag %q, which %s does not have", tag, set.name)
			case !slices.Contains(c.Tags[tag], value):
				return refuse(ReasonTags, fix, "%s has %q for the tag %q, and it allows %q",
					set.name, value, tag, slices.Sorted(slices.Values(c.Tags[tag])))
			}
		}
	}
	return nil
}

type tagSet struct {
	name string
	tags map[string]string
}

// tagSets has the gateway and the inbounds, even of a Dataplane with both, which no validator lets through: what is
// admitted here must not depend on that.
func tagSets(d *policy.Dataplane) []tagSet {
	var sets []tagSet
	if g := d.Networking.Gateway; g != nil {
		sets = append(sets, tagSet{"the gateway", g.Tags})
	}
	for _, in := range d.Networking.Inbound {
		sets = append(sets, tagSet{"the inbound at port " + strconv.Itoa(in.Port), in.Tags})
	}
	return sets
}

// generateFor is the command that makes a token for this proxy and no other.
func generateFor(d *policy.Dataplane) string {
	var flags []string
	if d.Name != "" {
		flags = append(flags, "--name", word(d.Name))
	}
	var services []string
	for _, set := range tagSets(d) {
		if s := set.tags[policy.TagService]; s != "" && !slices.Contains(services, s) {
			services = append(services, s)
		}
	}
	if len(services) > 0 {
		flags = append(flags, "--tag", word(policy.TagService+"="+strings.Join(services, ",")))
	}
	return generate(d.Mesh, flags...)
}
