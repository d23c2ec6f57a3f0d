package xds_test

import (
	"math"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"koguma/policy"
	"koguma/xds"
)

// inbound is the listener of the first inbound of a view, after a change of the view.
func inbound(t *testing.T, view string, change func(*xds.View)) *listenerv3.Listener {
	t.Helper()
	v := views()[view]
	change(v)
	var l listenerv3.Listener
	if err := proto.Unmarshal(build(t, v).Listeners.All()[0].Body, &l); err != nil {
		t.Fatal(err)
	}
	return &l
}

// What the control plane puts into a note is what the agent takes out of it, and without it all notes have the same
// listener.
func TestNote(t *testing.T) {
	t.Parallel()
	var first *listenerv3.Listener
	for _, want := range []xds.Note{
		{Mode: policy.ModeStrict, Permission: "front-web", PermissionVersion: 7},
		{Mode: policy.ModePermissive, Permission: "Not.A_Label", PermissionVersion: math.MaxUint64},
		{Mode: policy.ModeStrict},
		{Mode: xds.ModeOff},
		{},
	} {
		l := inbound(t, "noted", func(v *xds.View) { v.Inbounds[0].Note = want })
		if got := xds.TakeNote(l); got != want {
			t.Errorf("the note %+v became %+v", want, got)
		}
		if again := xds.TakeNote(l); again != (xds.Note{}) || l.Metadata != nil {
			t.Errorf("left on the listener: %+v, %v", again, l.Metadata)
		}
		if first == nil {
			first = l
		}
		if diff := cmp.Diff(first, l, protocmp.Transform()); diff != "" {
			t.Errorf("another note, another listener:\n%s", diff)
		}
	}
}

// Metadata that is no note stays.
func TestNoteAmongOthers(t *testing.T) {
	t.Parallel()
	l := inbound(t, "noted", func(*xds.View) {})
	l.Metadata.FilterMetadata["other"] = &structpb.Struct{}
	xds.TakeNote(l)
	want := &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"other": {}}}
	if diff := cmp.Diff(want, l.Metadata, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// Without an agent there is nobody who would take a note off, or to whom a denial could be told.
func TestNothingForAgentsWithoutOne(t *testing.T) {
	t.Parallel()
	bare := inbound(t, "noted", func(v *xds.View) { v.Notes = false })
	if bare.Metadata != nil || len(bare.AccessLog) != 0 {
		t.Errorf("metadata %v and access logs %v", bare.Metadata, bare.AccessLog)
	}
	never := inbound(t, "noted", func(v *xds.View) { v.Notes, v.Inbounds[0].Note = false, xds.Note{} })
	if diff := cmp.Diff(never, bare, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// A proxy with an agent and one without share no listener and no chain, whoever of them is the first.
func TestAgentsShareWithAgents(t *testing.T) {
	t.Parallel()
	var b xds.Builder
	var all [2]*xds.Snapshot
	for i := range all {
		v := views()["noted"]
		v.Notes = i == 0
		v.Inbounds[0].Note, v.Inbounds[1].Note = xds.Note{}, xds.Note{}
		s, err := b.Build(v)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = s
		alone := build(t, v)
		if s.Listeners.Version() != alone.Listeners.Version() {
			t.Errorf("notes %v: the listeners depend on what was built before", v.Notes)
		}
	}
	if all[0].Listeners.Version() == all[1].Listeners.Version() {
		t.Error("with and without an agent the listeners are the same")
	}
}
