package xds

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Note is what an agent is told of an inbound, beside its listener. It rides in the listener's metadata, and the agent
// takes it off: to Envoy a listener with other metadata is another listener, and the connections of the old one all end
// after the drain time.
type Note struct {
	// Mode is what an operator has said of plaintext: policy.ModeStrict, policy.ModePermissive or [ModeOff]. A control
	// plane that does not say has not been told to let plaintext in.
	Mode string
	// Permission is the name of the TrafficPermission that decides about the inbound, "" if there is none; and its
	// version.
	Permission        string
	PermissionVersion uint64
}

// ModeOff, in a [Note], says that mTLS is off in the mesh.
const ModeOff = "OFF"

const noteKey = "io.koguma.inbound"

// noteOf is the note that the listener of an inbound carries; the zero Note is none.
func (v *View) noteOf(in *Inbound) Note {
	if !v.Notes {
		return Note{}
	}
	return in.Note
}

// attach puts the note into the metadata of a listener.
func (n Note) attach(l *listenerv3.Listener) {
	if n == (Note{}) {
		return
	}
	text := structpb.NewStringValue
	l.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{noteKey: {Fields: map[string]*structpb.Value{
		"mode":              text(n.Mode),
		"permission":        text(n.Permission),
		"permissionVersion": text(strconv.FormatUint(n.PermissionVersion, 10)),
	}}}}
}

// TakeNote takes the note off a listener; the zero Note if it carries none.
func TakeNote(l *listenerv3.Listener) Note {
	fields := l.GetMetadata().GetFilterMetadata()[noteKey].GetFields()
	if fields == nil {
		return Note{}
	}
	delete(l.Metadata.FilterMetadata, noteKey)
	if len(l.Metadata.FilterMetadata) == 0 && len(l.Metadata.TypedFilterMetadata) == 0 {
		l.Metadata = nil
	}
	version, _ := strconv.ParseUint(fields["permissionVersion"].GetStringValue(), 10, 64) // 0: none that we know of
	return Note{Mode: fields["mode"].GetStringValue(), Permission: fields["permission"].GetStringValue(), PermissionVersion: version}
}
