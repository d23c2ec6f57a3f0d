package cp_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	"koguma/token"
)

// The newest stream of a proxy is the one that counts, and the older one is told so.
func TestNewestStreamWins(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, variant := range variants {
		web := brought(dataplane("web-1", "web"))
		old := p.join("web-1", web)
		other := p.joinBy(p.dial(), variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", web))
		old.ended(codes.AlreadyExists, "newer stream", "two proxies must not share a name")
		if s, _ := p.subscription("web-1"); !s.DisconnectTime.IsZero() {
			t.Errorf("%s: the proxy counts as gone: %+v", variant, s)
		}
		if n := p.metric("koguma_sessions"); n != 1 {
			t.Errorf("%s: %d sessions, want 1", variant, n)
		}
		other.leave()
	}
}
