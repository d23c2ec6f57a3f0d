package gui_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"koguma/gui"
	"koguma/policy"
)

// The matrix says the same as a dry run would, of the services that it has; a mesh that is not there has none.
func TestMatrix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gateway := &policy.Dataplane{Meta: policy.Meta{Type: policy.TypeDataplane, Mesh: "default", Name: "edge-1", Version: 30}}
		gateway.Networking.Gateway = &policy.Gateway{Type: "DELEGATED", Tags: map[string]string{policy.TagService: "edge"}}
		second := dataplane("web", 31)
		second.Name = "web-2"
		second.Networking.Inbound[0].Tags["version"] = "2"
		partly := permission("web", "backend", 32)
		partly.Sources[0].Match["version"] = "2"
		w := newWorld()
		w.change(func(s *gui.State) {
			s.Dataplanes = append(s.Dataplanes, gateway, second)
			s.Traffic = []*policy.TrafficPermission{partly, permission("edge", "web", 33)}
		})
		p, close := open(t, newServer(w), false)
		defer close()
		synctest.Wait()
		last := p.heard()[0]
		for key, want := range map[string]string{
			"services": `["backend","edge","web"]`, "row:web": `"pnd"`, "row:edge": `"dna"`, "row:backend": `"dnd"`,
		} {
			if got := string(last.Parts[key]); got != want {
				t.Errorf("%s is %s, want %s", key, got, want)
			}
		}
		w.change(func(s *gui.State) {
			s.Dataplanes = nil
			for i := range 203 {
				s.Dataplanes = append(s.Dataplanes, dataplane(fmt.Sprintf("s-%03d", i), uint64(100+i)))
			}
		})
		time.Sleep(time.Second)
		last = p.heard()[0]
		if got := string(last.Parts["mesh"]); got != `{"name":"default","exists":true,"mode":"STRICT","ca":"ca-1","rules":2,"more":3}` {
			t.Errorf("of 203 services: %s", got)
		}
		if row := string(last.Parts["row:s-199"]); len(row) != 202 || last.Parts["row:s-200"] != nil {
			t.Errorf("the last row is %s", row)
		}
		w.change(func(s *gui.State) { s.Dataplanes = nil })
		time.Sleep(time.Second)
		if got := string(p.heard()[0].Parts["services"]); got != "[]" {
			t.Errorf("without anybody the services are %s", got)
		}
		w.change(func(s *gui.State) { *s = gui.State{Meshes: s.Meshes, Name: "none", Proxies: []gui.Proxy{}} })
		time.Sleep(time.Second)
		last = p.heard()[0]
		if mesh := string(last.Parts["mesh"]); mesh != `{"name":"none","exists":false,"mode":"OFF","rules":0}` || last.Parts["services"] != nil {
			t.Errorf("of a mesh that is not there: %s %s", mesh, last.Parts)
		}
	})
}

// The matrix follows each kind of resource that it comes from, also when one is replaced by another of its name.
func TestMatrixFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		merged := func(action policy.Action, version uint64) []*policy.MeshTrafficPermission {
			return []*policy.MeshTrafficPermission{{
				Meta: policy.Meta{Type: policy.TypeMeshTrafficPermission, Mesh: "default", Name: "m", Version: version},
				Spec: policy.MeshTrafficPermissionSpec{From: []policy.From{{TargetRef: policy.TargetRef{Kind: policy.TargetMesh}, Default: policy.FromDefault{Action: action}}}},
			}}
		}
		w := newWorld()
		p, close := open(t, newServer(w), false)
		defer close()
		synctest.Wait()
		p.heard()
		for _, c := range []struct {
			what   string
			change func(*gui.State)
			want   string
		}{
			{"a permission", func(s *gui.State) { s.Traffic = []*policy.TrafficPermission{permission("web", "backend", 20)} }, `"ad"`},
			{"another in its place", func(s *gui.State) { s.Traffic = []*policy.TrafficPermission{permission("web", "web", 21)} }, `"da"`},
			{"a MeshTrafficPermission", func(s *gui.State) { s.MeshTraffic = merged(policy.Allow, 22) }, `"aa"`},
			{"another in its place", func(s *gui.State) { s.MeshTraffic = merged(policy.Deny, 23) }, `"dd"`},
			{"mTLS that is off", func(s *gui.State) {
				s.Mesh = &policy.Mesh{Meta: policy.Meta{Type: policy.TypeMesh, Name: "default", Version: 24}}
			}, `"aa"`},
			{"a Dataplane of another service", func(s *gui.State) { s.Dataplanes = []*policy.Dataplane{dataplane("web", 25), dataplane("web", 26)} }, `"a"`},
		} {
			w.change(c.change)
			time.Sleep(time.Second)
			events := p.heard()
			if len(events) != 1 || string(events[0].Parts["row:web"]) != c.want {
				t.Errorf("after %s: %v, want %s", c.what, events, c.want)
			}
		}
	})
}
