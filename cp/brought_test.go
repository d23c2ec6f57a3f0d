package cp_test

import (
	"testing"
	"time"

	"koguma/cp/cptest"
	"koguma/token"
)

// A Dataplane that a proxy brings along is a change, by its token, and so is that it goes with the proxy. One that was there
// already is none.
func TestWhatProxiesBringIsAudited(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.session(node(t, "default.web-1", brought(dataplane("web-1", "web")))).Close(false)
		w.session(node(t, "default.web-1", brought(dataplane("web-1", "web")))).Close(true)
		time.Sleep(time.Second)
		object := "object=/meshes/default/dataplanes/web-1"
		lines := w.log.Audited(0)
		if len(lines) != 2 {
			t.Fatalf("the audit log has %q", lines)
		}
		claims, err := token.Inspect(token.Raw(w.raw))
		if err != nil {
			t.Fatal(err)
		}
		cptest.WantLine(t, lines[:1], `actor="proxy web-1"`, "verb=PUT", object, "jti="+claims.ID, "outcome=done")
		cptest.WantLine(t, lines[1:], "actor=mesh-system:control-plane", "verb=DELETE", object, "outcome=done")
	})
}
