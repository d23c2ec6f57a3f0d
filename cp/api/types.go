package api

import (
	"net/http"

	"koguma/policy"
)

// policyType is what old clients want to know of a type of policies; newer ones ask for descriptions.
type policyType struct {
	Name                policy.Type `json:"name"`
	ReadOnly            bool        `json:"readOnly"`
	Path                string      `json:"path"`
	SingularDisplayName string      `json:"singularDisplayName"`
	PluralDisplayName   string      `json:"pluralDisplayName"`
	IsExperimental      bool        `json:"isExperimental"`
	IsTargetRefBased    bool        `json:"isTargetRefBased"`
	IsInbound           bool        `json:"isInbound"`
	IsOutbound          bool        `json:"isOutbound"`
}

// listTypes answers which types of resources there are.
func (a *API) listTypes(r *http.Request) (answer, error) {
	all := policy.Descriptions()
	for i := range all {
		all[i].ReadOnly = all[i].ReadOnly || a.Config.APIServer.ReadOnly
	}
	return answer{body: map[string]any{"resources": all}}, noQuery(r)
}

func (a *API) listPolicyTypes(r *http.Request) (answer, error) {
	all := []policyType{}
	for _, d := range policy.Descriptions() {
		if p := d.Policy; p != nil {
			all = append(all, policyType{
				Name: d.Name, ReadOnly: d.ReadOnly || a.Config.APIServer.ReadOnly, Path: d.Path,
				SingularDisplayName: d.SingularDisplayName, PluralDisplayName: d.PluralDisplayName,
				IsTargetRefBased: p.IsTargetRef, IsInbound: p.HasFromTargetRef, IsOutbound: p.HasToTargetRef,
			})
		}
	}
	return answer{body: map[string]any{"policies": all}}, noQuery(r)
}

// whoAmIBody is who sent a request, in the words of Kuma's access lists.
type whoAmIBody struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
}

func (a *API) whoAmI(r *http.Request) (answer, error) {
	who := a.identify(r)
	body := whoAmIBody{Name: who.name, Groups: []string{"mesh-system:unauthenticated"}}
	if who.admin {
		body.Groups = []string{"mesh-system:admin", "mesh-system:authenticated"}
	}
	return answer{body: body}, noQuery(r)
}
