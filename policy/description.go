package policy

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Description is what a control plane says of a type of resources, in `GET /_resources`.
type Description struct {
	Name                Type               `json:"name"`
	Scope               string             `json:"scope"` // "Mesh" or "Global"
	Path                string             `json:"path"`
	ReadOnly            bool               `json:"readOnly"` // made by the control plane, for others to look at
	SingularDisplayName string             `json:"singularDisplayName"`
	PluralDisplayName   string             `json:"pluralDisplayName"`
	IncludeInFederation bool               `json:"includeInFederation"` // goes along when a mesh moves to another control plane
	Policy              *PolicyDescription `json:"policy,omitempty"`    // nil: it is no policy
}

// PolicyDescription is how a policy says what it is about.
type PolicyDescription struct {
	HasToTargetRef    bool `json:"hasToTargetRef"`
	HasFromTargetRef  bool `json:"hasFromTargetRef"`
	HasRulesTargetRef bool `json:"hasRulesTargetRef"`
	IsTargetRef       bool `json:"isTargetRef"`
	IsFromAsRules     bool `json:"isFromAsRules"`
}

// Descriptions are those of the types that people write and of those that they can only look at, by name.
func Descriptions() []Description {
	all := []Description{
		{Name: TypeMeshInsight, Scope: "Global", Path: "mesh-insights", ReadOnly: true},
		{Name: TypeServiceInsight, Scope: "Mesh", Path: "service-insights", ReadOnly: true},
	}
	for _, k := range Kinds() {
		d := Description{Name: k.Type, Scope: "Global", Path: k.Path, IncludeInFederation: k.Type != TypeDataplane, Policy: policyOf(k.Type)}
		if k.InMesh {
			d.Scope = "Mesh"
		}
		all = append(all, d)
	}
	for i := range all {
		d := &all[i]
		d.SingularDisplayName = spaced(string(d.Name))
		d.PluralDisplayName = d.SingularDisplayName + "s"
		if d.Name == TypeMesh {
			d.PluralDisplayName = d.SingularDisplayName + "es"
		}
	}
	slices.SortFunc(all, func(a, b Description) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// IsPolicy reports whether resources of the kind say what proxies may do.
func (k Kind) IsPolicy() bool { return policyOf(k.Type) != nil }

// policyOf describes the policies of that type, nil for what is none.
func policyOf(t Type) *PolicyDescription {
	switch t {
	case TypeTrafficPermission:
		return &PolicyDescription{}
	case TypeMeshTrafficPermission:
		return &PolicyDescription{HasFromTargetRef: true, HasRulesTargetRef: true, IsTargetRef: true}
	}
	return nil
}

// spaced is a name with its words apart.
func spaced(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && unicode.IsUpper(c) {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}
