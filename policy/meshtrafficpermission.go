package policy

import (
	"fmt"
	"strings"
)

// MeshTrafficPermission says of some peers whether they get in at some inbounds. All that are for an inbound count together,
// as [Permissions.Merge] has them, and no [TrafficPermission] counts there then.
type MeshTrafficPermission struct {
	Meta
	Spec MeshTrafficPermissionSpec `json:"spec"`
}

// MeshTrafficPermissionSpec has either From or Rules.
type MeshTrafficPermissionSpec struct {
	TargetRef *TargetRef `json:"targetRef,omitempty"` // the inbounds; nil is all of the mesh
	From      []From     `json:"from,omitempty"`
	Rules     []Matches  `json:"rules,omitempty"`
}

// From is what is to be done with peers that are picked by services and tags. What stands later goes before.
type From struct {
	TargetRef TargetRef   `json:"targetRef"`
	Default   FromDefault `json:"default"`
}

// FromDefault is where the action stands.
type FromDefault struct {
	Action Action `json:"action"`
}

// Action is what is done with a peer.
type Action string

// The actions. With ShadowDeny a peer gets in, and a line in the agent's log says that it would not with Deny.
const (
	Allow      Action = "Allow"
	Deny       Action = "Deny"
	ShadowDeny Action = "AllowWithShadowDeny"
)

// Matches are peers that are picked by their identities. Deny goes before all others, wherever it stands.
type Matches struct {
	Default MatchesDefault `json:"default"`
}

// MatchesDefault is where the lists stand.
type MatchesDefault struct {
	Allow      []IdentityMatch `json:"allow,omitempty"`
	Deny       []IdentityMatch `json:"deny,omitempty"`
	ShadowDeny []IdentityMatch `json:"allowWithShadowDeny,omitempty"`
}

// IdentityMatch picks peers by the SPIFFE ID in their certificates.
type IdentityMatch struct {
	SpiffeID *TextMatch `json:"spiffeID,omitempty"`
	SNI      *TextMatch `json:"sni,omitempty"` // for Validate to refuse
}

// TextMatch is a text, or how one begins.
type TextMatch struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// The types of a [TextMatch].
const (
	MatchExact  = "Exact"
	MatchPrefix = "Prefix"
)

// Validate implements [Resource].
func (p *MeshTrafficPermission) Validate() error {
	var bad problems
	bad.checkMeta(&p.Meta, TypeMeshTrafficPermission)
	bad.checkTarget("spec.targetRef", p.Spec.TargetRef)
	switch {
	case len(p.Spec.From) > 0 && len(p.Spec.Rules) > 0:
		bad.add("spec", "has from and rules: write two resources, one with each")
	case len(p.Spec.From) == 0 && len(p.Spec.Rules) == 0:
		bad.add("spec", "must have from or rules, with at least one element")
	}
	for i := range p.Spec.From {
		f, at := &p.Spec.From[i], fmt.Sprintf("spec.from[%d]", i)
		bad.checkPeerRef(at+".targetRef", &f.TargetRef)
		switch f.Default.Action {
		case Allow, Deny, ShadowDeny:
		default:
			bad.add(at+".default.action", "must be one of %s, %s, %s", Allow, Deny, ShadowDeny)
		}
	}
	for i := range p.Spec.Rules {
		d, at := &p.Spec.Rules[i].Default, fmt.Sprintf("spec.rules[%d].default", i)
		if len(d.Allow)+len(d.Deny)+len(d.ShadowDeny) == 0 {
			bad.add(at, "must have at least one element in allow, deny or allowWithShadowDeny")
		}
	}
	p.eachMatch(func(field string, _ Action, m *IdentityMatch) { bad.checkIdentity("spec."+field, p.Mesh, m) })
	if err := bad.err(); err != nil {
		return err
	}
	bad.check("spec", merge([]*MeshTrafficPermission{p}).Check())
	return bad.err()
}

// eachMatch calls do for each match of the rules, with the name of its field within the spec.
func (p *MeshTrafficPermission) eachMatch(do func(field string, action Action, m *IdentityMatch)) {
	for i := range p.Spec.Rules {
		d := &p.Spec.Rules[i].Default
		for _, list := range []struct {
			name   string
			action Action
			of     []IdentityMatch
		}{{"allow", Allow, d.Allow}, {"allowWithShadowDeny", ShadowDeny, d.ShadowDeny}, {"deny", Deny, d.Deny}} {
			for j := range list.of {
				do(fmt.Sprintf("rules[%d].default.%s[%d]", i, list.name, j), list.action, &list.of[j])
			}
		}
	}
}

// checkIdentity refuses what no proxy of the mesh could be: a rule that never applies is not what somebody meant.
func (p *problems) checkIdentity(at, mesh string, m *IdentityMatch) {
	if m.SNI != nil {
		p.add(at+".sni", "a peer may send any: it proves nothing, and is not matched here; write spiffeID")
	}
	if m.SpiffeID == nil {
		if m.SNI == nil {
			p.add(at+".spiffeID", "must be given")
		}
		return
	}
	at += ".spiffeID"
	name, inMesh := strings.CutPrefix(m.SpiffeID.Value, "spiffe://"+mesh)
	switch {
	case !inMesh || name != "" && name[0] != '/':
		p.add(at+".value", "%s is of another trust domain, and none but that of the mesh is trusted: must begin with spiffe://%s/",
			quote(m.SpiffeID.Value), mesh)
		return
	}
	name = strings.TrimPrefix(name, "/")
	switch {
	case m.SpiffeID.Type != MatchExact && m.SpiffeID.Type != MatchPrefix:
		p.add(at+".type", "must be %s or %s", MatchExact, MatchPrefix)
	case m.SpiffeID.Type == MatchPrefix && name == "":
	case ValidTagValue(name) != nil:
		p.add(at+".value", "nobody in the mesh has such an ID: they are spiffe://%s/SERVICE, with the value of %s", mesh, TagService)
	}
}

// source is the match as a source of connections, in that mesh.
func (m *IdentityMatch) source(mesh string) Source {
	name := strings.TrimPrefix(strings.TrimPrefix(m.SpiffeID.Value, "spiffe://"+mesh), "/")
	if m.SpiffeID.Type == MatchExact {
		return Source{Service: name}
	}
	return Source{Prefix: name}
}
