package xds

import (
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/policy"
)

// Note is what an agent is told of an inbound, beside its listener. It rides in the listener's metadata, and the agent
// takes it off: to Envoy a listener with other metadata is another listener, and the connections of the old one all end
// after the drain time. The clusters of services carry what is said of the mesh in the same way.
type Note struct {
	// Mode is what an operator has said of plaintext: policy.ModeStrict, policy.ModePermissive or [ModeOff]. A control
	// plane that does not say has not been told to let plaintext in.
	Mode string
	// Permission names what decides about the inbound: a TrafficPermission or MeshTrafficPermissions, "" if there is none; and
	// its version.
	Permission        string
	PermissionVersion uint64
	// MeshCreated and MeshChanged are when the Mesh that says so was made and changed last, in nanoseconds since 1970. An
	// agent tells by them a change of the Mesh from an older state of it that has come back.
	MeshCreated, MeshChanged int64
}

// ModeOff, in a [Note], says that mTLS is off in the mesh.
const ModeOff = "OFF"

// ModeOf is what a Mesh says of plaintext.
func ModeOf(m *policy.Mesh) string {
	b := m.Enabled()
	switch {
	case b == nil:
		return ModeOff
	case b.Permissive():
		return policy.ModePermissive
	}
	return policy.ModeStrict
}

const noteKey = "io.koguma.inbound"

// noteOf is the note that the listener of an inbound carries; the zero Note is none.
func (v *View) noteOf(in *Inbound) Note {
	if !v.Notes {
		return Note{}
	}
	n := in.Note
	n.MeshCreated, n.MeshChanged = v.MeshCreated, v.MeshChanged
	return n
}

// clusterNote is the note that the cluster of a service carries: what is said of the whole mesh.
func (v *View) clusterNote() Note {
	return v.noteOf(&Inbound{Note: Note{Mode: v.Mode}})
}

// metadata is the note as it rides along; nil if there is none.
func (n Note) metadata() *corev3.Metadata {
	if n == (Note{}) {
		return nil
	}
	text := structpb.NewStringValue
	number := func(i int64) *structpb.Value { return text(strconv.FormatInt(i, 10)) }
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{noteKey: {Fields: map[string]*structpb.Value{
		"mode":              text(n.Mode),
		"permission":        text(n.Permission),
		"permissionVersion": text(strconv.FormatUint(n.PermissionVersion, 10)),
		"meshCreated":       number(n.MeshCreated),
		"meshChanged":       number(n.MeshChanged),
	}}}}
}

// TakeNote takes the note off a listener; the zero Note if it carries none.
func TakeNote(l *listenerv3.Listener) Note { return takeNote(&l.Metadata) }

// TakeClusterNote takes the note off the cluster of a service; the zero Note if it carries none.
func TakeClusterNote(c *clusterv3.Cluster) Note { return takeNote(&c.Metadata) }

func takeNote(from **corev3.Metadata) Note {
	m := *from
	fields := m.GetFilterMetadata()[noteKey].GetFields()
	if fields == nil {
		return Note{}
	}
	delete(m.FilterMetadata, noteKey)
	if len(m.FilterMetadata) == 0 && len(m.TypedFilterMetadata) == 0 {
		*from = nil
	}
	version, _ := strconv.ParseUint(fields["permissionVersion"].GetStringValue(), 10, 64) // 0: none that we know of
	number := func(key string) int64 {
		i, _ := strconv.ParseInt(fields[key].GetStringValue(), 10, 64) // 0, too
		return i
	}
	return Note{
		Mode: fields["mode"].GetStringValue(), Permission: fields["permission"].GetStringValue(), PermissionVersion: version,
		MeshCreated: number("meshCreated"), MeshChanged: number("meshChanged"),
	}
}
