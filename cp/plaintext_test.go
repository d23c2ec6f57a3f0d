package cp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// setMode writes the Mesh in one of the modes of mTLS, and returns the answer.
func (p *plane) setMode(mode string) string {
	p.t.Helper()
	return p.rest("PUT", "/meshes/default", fmt.Sprintf(
		`{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin","mode":%q}]}}`, mode))
}

// inbounds are what the API says of the inbounds.
func (p *plane) inbounds() policy.MeshMTLS {
	p.t.Helper()
	var m policy.MeshMTLS
	if err := policy.Decode([]byte(p.rest("GET", "/meshes/default/_mtls", "")), &m); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// What agents report is shown, and who makes the mesh strict is warned of it. A report is not answered.
func TestPlaintextReport(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"sotw", "delta"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.setMode("PERMISSIVE")
			raw := sign(t, token.Claims{Mesh: "default"})
			s := p.joinBy(p.conn, variant, raw, node(t, "default.web-1", brought(dataplane("web-1", "web"))))
			p.apply("idle-1", dataplane("idle-1", "idle"))
			before := p.inbounds()
			if before.Mode != "PERMISSIVE" || before.Backend != "ca-1" || before.Total != 2 || !before.Items[1].Since.IsZero() {
				t.Fatalf("before the report: %+v", before)
			}
			at := before.Items[1].Address
			report := func(text string) {
				s.askAs(node(t, "default.web-1", map[string]any{"dataplane.report": text}), xds.TypeReport)
			}
			report(fmt.Sprintf(`{"news":1,"inbounds":[{"listener":"inbound:%s","connections":3,"requests":4,"foreignTLS":1,"since":"1h","seen":"5s"}]}`, at))
			var web policy.InboundMTLS
			p.eventually("the report", func() bool { web = p.inbounds().Items[1]; return !web.Since.IsZero() })
			if web.Proxy != "web-1" || web.Service != "web" || web.Connections != 3 || web.Requests != 4 || web.ForeignTLS != 1 ||
				time.Since(web.LastSeen) > time.Minute || time.Since(web.Since) < time.Hour {
				t.Errorf("after the report: %+v", web)
			}
			for _, bad := range []string{"", "{", `{"inbounds":1}`, strings.Repeat(" ", 100<<10) + `{}`,
				`{"inbounds":[` + strings.Repeat(`{"since":"1s"},`, 500) + `{}]}`} {
				report(bad)
			}
			if got := p.setMode("STRICT"); !strings.Contains(got, "somebody came without mTLS, and is refused from now on, to web at "+at+" (web-1)") ||
				!strings.Contains(got, "nothing is known of who comes without mTLS to idle at ") {
				t.Errorf("the answer to STRICT is %s", got)
			}
			if got := p.setMode("STRICT"); strings.Contains(got, "web") {
				t.Errorf("the answer to STRICT, again, is %s", got)
			}
			if got := p.inbounds().Items[1]; got.Connections != 3 {
				t.Errorf("after reports that cannot be read: %+v", got)
			}
			s.leave()
		})
	}
}

// Who was seen long ago, or never, is no reason for a warning.
func TestOldPlaintextIsNoWarning(t *testing.T) {
	t.Parallel()
	for _, seen := range []string{"2h", "4h"} { // the latter is longer than it was counted: never
		p := start(t)
		p.setMode("PERMISSIVE")
		s := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		at := p.inbounds().Items[0].Address
		text := fmt.Sprintf(`{"inbounds":[{"listener":"inbound:%s","since":"3h","seen":%q}]}`, at, seen)
		s.askAs(node(t, "default.web-1", map[string]any{"dataplane.report": text}), xds.TypeReport)
		p.eventually("the report", func() bool { return !p.inbounds().Items[0].Since.IsZero() })
		if got := p.inbounds().Items[0]; got.LastSeen.IsZero() != (seen == "4h") {
			t.Errorf("%+v", got)
		}
		if got := p.setMode("STRICT"); strings.Contains(got, "web at") {
			t.Errorf("seen %s ago: %s", seen, got)
		}
		s.leave()
	}
}
