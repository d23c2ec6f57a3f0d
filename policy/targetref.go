package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// TargetRef picks proxies, as the policies do whose names begin with Mesh. Which fields it may have depends on the kind.
type TargetRef struct {
	Kind        string            `json:"kind"`
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Mesh        string            `json:"mesh,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	SectionName string            `json:"sectionName,omitempty"`
	ProxyTypes  []string          `json:"proxyTypes,omitempty"`
}

// The kinds of a [TargetRef].
const (
	TargetMesh              = "Mesh"
	TargetDataplane         = "Dataplane"
	TargetMeshSubset        = "MeshSubset"
	TargetMeshService       = "MeshService"
	TargetMeshServiceSubset = "MeshServiceSubset"
)

// targetKinds are the kinds from the least specific to the most specific.
func targetKinds() []string {
	return []string{TargetMesh, TargetDataplane, TargetMeshSubset, TargetMeshService, TargetMeshServiceSubset}
}

// checkTarget checks a reference to inbounds, nil for those of the whole mesh.
func (p *problems) checkTarget(at string, t *TargetRef) {
	if t == nil {
		return
	}
	p.checkRef(at, t, targetKinds())
	if t.Kind == TargetDataplane {
		if t.Name != "" && len(t.Labels) > 0 {
			p.add(at, "a Dataplane is picked by name or by labels: leave out one of the two")
		}
		if t.Name != "" {
			p.check(at+".name", ValidName(t.Name))
		}
		p.checkLabels(at+".labels", t.Labels)
		if port, err := strconv.Atoi(t.SectionName); t.SectionName != "" && (err != nil || validPort(port) != nil) {
			p.add(at+".sectionName", "must be the port of an inbound: inbounds have no names here")
		}
	}
	for i, kind := range t.ProxyTypes {
		if kind != "Sidecar" && kind != "Gateway" {
			p.add(fmt.Sprintf("%s.proxyTypes[%d]", at, i), "must be Sidecar or Gateway")
		}
	}
	if len(t.ProxyTypes) > 0 && !slices.Contains(t.ProxyTypes, "Sidecar") {
		p.add(at+".proxyTypes", "gateways have no inbounds here, so nothing can be permitted at them: name Sidecar, or leave the field out")
	}
}

// checkPeerRef checks a reference to those who come to an inbound.
func (p *problems) checkPeerRef(at string, t *TargetRef) {
	kinds := slices.DeleteFunc(targetKinds(), func(kind string) bool { return kind == TargetDataplane })
	p.checkRef(at, t, kinds)
	if t.Kind == TargetDataplane {
		p.add(at+".kind", "a certificate says nothing of names and labels: write MeshSubset with tags, or MeshService")
	}
	if len(t.ProxyTypes) > 0 {
		p.add(at+".proxyTypes", "a certificate does not say which type of proxy has it: leave it out")
	}
}

// checkRef checks what references of both sorts have in common.
func (p *problems) checkRef(at string, t *TargetRef, kinds []string) {
	if t.Kind != TargetDataplane && !slices.Contains(kinds, t.Kind) {
		p.add(at+".kind", "%s cannot be enforced here: must be one of %s", quote(t.Kind), strings.Join(kinds, ", "))
		return
	}
	if t.Namespace != "" {
		p.add(at+".namespace", "there are no namespaces here: leave it out")
	}
	if t.Mesh != "" {
		p.add(at+".mesh", "it is about the mesh that the resource is in: leave it out")
	}
	service := t.Kind == TargetMeshService || t.Kind == TargetMeshServiceSubset
	subset := t.Kind == TargetMeshSubset || t.Kind == TargetMeshServiceSubset
	switch {
	case service && t.Name == "":
		p.add(at+".name", "must be given: the service, as %s says it", TagService)
	case service:
		p.check(at+".name", ValidTagValue(t.Name))
	case t.Name != "" && t.Kind != TargetDataplane:
		p.add(at+".name", "a %s has no name: leave it out", t.Kind)
	}
	switch {
	case subset:
		p.checkMatch(at+".tags", t.Tags)
	case len(t.Tags) > 0:
		p.add(at+".tags", "a %s is not picked by tags: write kind MeshSubset, or MeshServiceSubset", t.Kind)
	}
	if _, given := t.Tags[TagService]; given && t.Kind == TargetMeshServiceSubset {
		p.add(tagField(at+".tags", TagService), "name says which service: leave it out")
	}
	if t.Kind != TargetDataplane && len(t.Labels) > 0 {
		p.add(at+".labels", "a %s is not picked by labels: only a Dataplane is", t.Kind)
	}
	if t.Kind != TargetDataplane && t.SectionName != "" {
		p.add(at+".sectionName", "a %s has no sections here: write kind Dataplane, or leave it out", t.Kind)
	}
}

// selects reports whether an inbound is among those that are picked.
func (t *TargetRef) selects(d *Dataplane, in *Inbound) bool {
	if t == nil || t.Kind == TargetMesh {
		return true
	}
	if t.Kind == TargetDataplane {
		return (t.Name == "" || t.Name == d.Name) && subsetOf(t.Labels, d.Labels) && (t.SectionName == "" || t.SectionName == strconv.Itoa(in.Port))
	}
	_, ok := t.selector().rank(in.Tags)
	return ok
}

// subsetOf reports whether all of these labels are among those.
func subsetOf(labels, all map[string]string) bool {
	for k, v := range labels {
		if have, ok := all[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// selector is the reference by tags: one to a Dataplane says nothing of any.
func (t *TargetRef) selector() *Selector {
	match := map[string]string{TagService: Any}
	maps.Copy(match, t.Tags)
	if t.Name != "" {
		match[TagService] = t.Name
	}
	return &Selector{match}
}

// source is the reference as a source of connections.
func (t *TargetRef) source() Source { return t.selector().source() }

// compare orders references by how specific they are, as Kuma does: by kind and, of Dataplanes, by port, name and labels.
func (t *TargetRef) compare(o *TargetRef) int {
	if t == nil {
		t = &TargetRef{Kind: TargetMesh}
	}
	if o == nil {
		o = &TargetRef{Kind: TargetMesh}
	}
	kinds := targetKinds()
	if c := cmp.Compare(slices.Index(kinds, t.Kind), slices.Index(kinds, o.Kind)); c != 0 || t.Kind != TargetDataplane {
		return c
	}
	return cmp.Or(cmp.Compare(min(len(t.SectionName), 1), min(len(o.SectionName), 1)),
		cmp.Compare(min(len(t.Name), 1), min(len(o.Name), 1)), cmp.Compare(min(len(t.Labels), 1), min(len(o.Labels), 1)))
}
