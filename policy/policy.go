// Package policy is the vocabulary of a mesh: the resources that operators write and the control plane acts on
// ([Mesh], [Dataplane], [TrafficPermission], [MeshTrafficPermission], [Secret]), what makes each of them valid, and which
// permission decides about which inbound.
//
// It is also the door for everything that comes from outside: [Decode] is the one strict decoder, and [Parse] reads
// whole resources through it. A value that passed Parse and Validate can be enforced as it stands; anything that could
// not be is an error here, never a default.
//
// A [Resource] is not changed once it has been handed to somebody else; who wants a different one makes a copy.
package policy

import (
	"cmp"
	"time"
)

// Type names a kind of resource as its "type" field does.
type Type string

// The types of resources.
const (
	TypeMesh                  Type = "Mesh"
	TypeDataplane             Type = "Dataplane"
	TypeTrafficPermission     Type = "TrafficPermission"
	TypeMeshTrafficPermission Type = "MeshTrafficPermission"
	TypeSecret                Type = "Secret"
	// TypeGlobalSecret belongs to no mesh: it holds what the control planes of one store share, such as the CA of
	// their own TLS certificates.
	TypeGlobalSecret Type = "GlobalSecret"
	// TypeIssuance, TypeWithdrawals and TypeTrust are the control planes' own books about certificates.
	TypeIssuance    Type = "Issuance"
	TypeWithdrawals Type = "Withdrawals"
	TypeTrust       Type = "Trust"
	// TypeControlPlane belongs to no mesh either: it is how the control planes of one store know each other.
	TypeControlPlane Type = "ControlPlane"
)

// Resource is one thing in the store, known by its Key.
type Resource interface {
	// Metadata is the part that all resources have. It points into the resource.
	Metadata() *Meta
	// Validate reports everything that is wrong with the resource as it stands, as an [Invalid].
	Validate() error
}

// Key is what tells resources apart. Mesh is empty for those that belong to no mesh.
type Key struct {
	Type Type
	Mesh string
	Name string
}

// Compare orders keys by type, mesh and name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Type, o.Type), cmp.Compare(k.Mesh, o.Mesh), cmp.Compare(k.Name, o.Name))
}

// String is the key as messages name it: `Dataplane "web-1" of mesh "default"`.
func (k Key) String() string {
	s := string(k.Type) + ` "` + k.Name + `"`
	if k.Mesh != "" {
		s += ` of mesh "` + k.Mesh + `"`
	}
	return s
}

// Meta is what all resources have. Times and Version are set by the store; what a client says of them is ignored.
type Meta struct {
	Type             Type              `json:"type"`
	Mesh             string            `json:"mesh,omitempty"`
	Name             string            `json:"name"`
	CreationTime     time.Time         `json:"creationTime,omitzero"`
	ModificationTime time.Time         `json:"modificationTime,omitzero"`
	Labels           map[string]string `json:"labels,omitempty"`

	// Version grows with every change of the resource; 0 is that of a resource that is in no store.
	Version uint64 `json:"-"`
}

// Metadata implements [Resource] for everything that embeds a Meta.
func (m *Meta) Metadata() *Meta { return m }

// Key is the resource's key.
func (m *Meta) Key() Key { return Key{Type: m.Type, Mesh: m.Mesh, Name: m.Name} }

// Kind describes how a type is named on the command line and in paths.
type Kind struct {
	Type     Type
	Path     string // segment of the REST path: "traffic-permissions"
	Singular string // kumactl get SINGULAR NAME
	Plural   string // kumactl get PLURAL
	InMesh   bool   // belongs to a mesh
	Secret   bool   // readable by administrators only
}

// Kinds lists the kinds that people read and write, in a fixed order.
func Kinds() []Kind {
	return []Kind{
		{TypeMesh, "meshes", "mesh", "meshes", false, false},
		{TypeDataplane, "dataplanes", "dataplane", "dataplanes", true, false},
		{TypeTrafficPermission, "traffic-permissions", "traffic-permission", "traffic-permissions", true, false},
		{TypeMeshTrafficPermission, "meshtrafficpermissions", "meshtrafficpermission", "meshtrafficpermissions", true, false},
		{TypeSecret, "secrets", "secret", "secrets", true, true},
		{TypeGlobalSecret, "globalsecrets", "global-secret", "global-secrets", false, true},
	}
}

// TypesInMesh lists the types of all resources that belong to a mesh, also those that nobody but the control plane has.
func TypesInMesh() []Type {
	types := []Type{TypeIssuance, TypeWithdrawals, TypeTrust}
	for _, k := range Kinds() {
		if k.InMesh {
			types = append(types, k.Type)
		}
	}
	return types
}

// KindOf is the kind of that type.
func KindOf(t Type) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Type == t {
			return k, true
		}
	}
	return Kind{}, false
}

// New is an empty resource of the type, its Type already set; nil for a type that does not exist.
func New(t Type) Resource {
	var r Resource
	switch t {
	case TypeMesh:
		r = new(Mesh)
	case TypeDataplane:
		r = new(Dataplane)
	case TypeTrafficPermission:
		r = new(TrafficPermission)
	case TypeMeshTrafficPermission:
		r = new(MeshTrafficPermission)
	case TypeSecret:
		r = new(Secret)
	case TypeGlobalSecret:
		r = new(GlobalSecret)
	case TypeIssuance:
		r = new(Issuance)
	case TypeWithdrawals:
		r = new(Withdrawals)
	case TypeTrust:
		r = new(Trust)
	case TypeControlPlane:
		r = new(ControlPlane)
	default:
		return nil
	}
	r.Metadata().Type = t
	return r
}
