package gui

import (
	"bytes"
	"encoding/json"

	"koguma/policy"
)

// edition is what the page shows of a mesh at one moment, cut into parts, each of which is JSON. A page is sent those that
// differ from what it has, whatever editions it has missed in between: so nothing has to be queued for one that is slow.
type edition struct {
	parts map[string]json.RawMessage
	// restricted is the part for those who may see what was refused.
	restricted json.RawMessage
}

// The keys of parts. The last two are followed by the name of a service, or of a proxy.
const (
	partMeshes   = "meshes"
	partMesh     = "mesh"
	partTrust    = "trust"
	partServices = "services"
	partRefusals = "refusals"
	partRow      = "row:"
	partProxy    = "proxy:"
)

// meshPart is what is said of a mesh as a whole.
type meshPart struct {
	Name   string   `json:"name"`
	Exists bool     `json:"exists"`
	Mode   string   `json:"mode"` // OFF, PERMISSIVE, STRICT
	CA     string   `json:"ca,omitempty"`
	Rules  int      `json:"rules"`            // permissions of all kinds
	More   int      `json:"more,omitempty"`   // services that the matrix leaves out
	Silent []string `json:"silent,omitempty"` // control planes that do not answer
}

// newEdition is the edition of a state. What has not changed since the last one, which may be nil, is taken from there; if
// nothing has, it is the last one itself.
func newEdition(s *State, m matrix, last *edition) (*edition, error) {
	e := &edition{parts: map[string]json.RawMessage{}}
	what := map[string]any{
		partMeshes: s.Meshes, partMesh: meshOf(s, m), partTrust: s.Trust, partServices: m.services,
	}
	for i, service := range m.services {
		what[partRow+service] = m.rows[i]
	}
	for i := range s.Proxies {
		what[partProxy+s.Proxies[i].Name] = &s.Proxies[i]
	}
	same := last != nil && len(last.parts) == len(what)
	for key, value := range what {
		data, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		if last != nil && bytes.Equal(last.parts[key], data) {
			data = last.parts[key]
		} else {
			same = false
		}
		e.parts[key] = data
	}
	var err error
	if e.restricted, err = json.Marshal(s.Refusals); err != nil {
		return nil, err
	}
	if same && bytes.Equal(last.restricted, e.restricted) {
		return last, nil
	}
	return e, nil
}

func meshOf(s *State, m matrix) meshPart {
	p := meshPart{Name: s.Name, Exists: s.Mesh != nil, Mode: modeOff, Rules: len(s.Traffic) + len(s.MeshTraffic), More: m.more, Silent: s.Silent}
	if s.Mesh == nil {
		return p
	}
	if b := s.Mesh.Enabled(); b != nil {
		p.CA, p.Mode = b.Name, policy.ModeStrict
		if b.Permissive() {
			p.Mode = policy.ModePermissive
		}
	}
	return p
}

// modeOff is the mode of a mesh without mTLS.
const modeOff = "OFF"

// since is what a page lacks that has an older edition, nil for none: the parts that differ, and null for those that are gone.
// admin is whether it may see what was refused.
func (e *edition) since(old *edition, admin bool) map[string]json.RawMessage {
	diff := map[string]json.RawMessage{}
	if old == nil {
		old = &edition{}
	}
	for key, data := range e.parts {
		if !bytes.Equal(old.parts[key], data) {
			diff[key] = data
		}
	}
	for key := range old.parts {
		if e.parts[key] == nil {
			diff[key] = json.RawMessage("null")
		}
	}
	if admin && !bytes.Equal(old.restricted, e.restricted) {
		diff[partRefusals] = e.restricted
	}
	return diff
}
