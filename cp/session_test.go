package cp_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// The newest stream of a proxy is the one that counts, and the older one is told so.
func TestNewestStreamWins(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, variant := range variants {
		web := brought(dataplane("web-1", "web"))
		old := p.join("web-1", web)
		newest := p.joinBy(p.dial(), variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", web))
		m := old.ended(codes.AlreadyExists, "newer stream", "web-1", "two proxies must not share a name")
		if strings.ContainsAny(m, "\r\n") {
			t.Errorf("not one line: %q", m)
		}
		if s, _ := p.subscription("web-1"); !s.DisconnectTime.IsZero() {
			t.Errorf("%s: the proxy counts as gone: %+v", variant, s)
		}
		if n := p.metric("koguma_sessions"); n != 1 {
			t.Errorf("%s: %d sessions, want 1", variant, n)
		}
		p.mtls("1h")
		newest.expect(xds.TypeListener)
		p.mtls("")
		newest.expect(xds.TypeListener)
		newest.leave()
		p.eventually("the Dataplane to go", func() bool { return p.dataplanes() == "" })
	}
}

// An agent that opens a second stream, as it does with a new token, is no rival of itself.
func TestNewerStreamOfTheSameAgent(t *testing.T) {
	t.Parallel()
	p := start(t)
	proxy := brought(dataplane("web-1", "web"))
	proxy["dataplane.instance"] = "one"
	old := p.join("web-1", proxy)
	p.join("web-1", proxy)
	if m := old.ended(codes.AlreadyExists, "web-1", "has a newer stream"); strings.Contains(m, "two proxies") {
		t.Errorf("it ended with %q", m)
	}
}

// A refusal is shown with the proxy's own words, cut where they have no end, until the proxy accepts what comes then.
func TestRejectionIsShown(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", dataplane("web-1", "web"))
	for _, variant := range variants {
		s := p.joinBy(p.conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", nil))
		before := p.metric("koguma_xds_rejections_total")
		shown := func(what string, is func(policy.SubscriptionStatus) bool) {
			t.Helper()
			p.eventually(what, func() bool { s, _ := p.subscription("web-1"); return is(s.Status) })
		}
		// An answer that comes after the next response is out answers nothing.
		accepted := func(n uint64) {
			t.Helper()
			shown("the answer", func(st policy.SubscriptionStatus) bool { return st.LDS.ResponsesAcknowledged == n })
		}
		accepted(1)
		p.apply("web-1", strings.Replace(dataplane("web-1", "web"), "8080", "8081", 1))
		s.expect(xds.TypeListener)
		accepted(2)
		p.apply("web-1", strings.Replace(dataplane("web-1", "web"), "8080", "8082", 1))
		s.answer(s.hold(), "port 8082 is taken")
		shown("the reason", func(st policy.SubscriptionStatus) bool { return st.LastRejection == "port 8082 is taken" })
		p.apply("web-1", strings.Replace(dataplane("web-1", "web"), "8080", "8083", 1))
		s.answer(s.hold(), strings.Repeat("long ", 10<<10))
		shown("a long reason", func(st policy.SubscriptionStatus) bool {
			return strings.HasPrefix(st.LastRejection, "long ") && len(st.LastRejection) == 4<<10
		})
		if log := p.log.String(); !strings.Contains(log, "port 8082 is taken") || strings.Contains(log, strings.Repeat("long ", 1<<10)) {
			t.Errorf("the log should have the reasons, but no more than 4 KiB of them")
		}
		p.apply("web-1", dataplane("web-1", "web"))
		s.expect(xds.TypeListener)
		shown("no reason any more", func(st policy.SubscriptionStatus) bool { return st.LastRejection == "" })
		want := policy.DeliveryStats{ResponsesSent: 5, ResponsesAcknowledged: 3, ResponsesRejected: 2}
		shown("the counts", func(st policy.SubscriptionStatus) bool {
			return st.LDS == want && st.CDS.ResponsesSent == 1 && st.Total.ResponsesRejected == 2 && st.Total.ResponsesSent == 6
		})
		if n := p.metric("koguma_xds_rejections_total") - before; n != 2 {
			t.Errorf("%d refusals counted, want 2", n)
		}
		s.leave()
		shown("the end", func(policy.SubscriptionStatus) bool {
			s, _ := p.subscription("web-1")
			return !s.DisconnectTime.IsZero()
		})
	}
}

// What a proxy says that it runs is shown.
func TestVersionIsShown(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.apply("web-1", dataplane("web-1", "web"))
	p.join("web-1", map[string]any{"version": map[string]any{
		"kumaDp": map[string]any{"version": "1.2.3"}, "envoy": map[string]any{"version": "1.40.0", "build": "b"},
	}})
	s, _ := p.subscription("web-1")
	want := policy.ProxyVersion{KumaDP: policy.SoftwareVersion{Version: "1.2.3"}, Envoy: policy.SoftwareVersion{Version: "1.40.0", Build: "b"}}
	if diff := cmp.Diff(want, s.Version); diff != "" {
		t.Error(diff)
	}
	if s.ID == "" || s.ConnectTime.IsZero() || !s.DisconnectTime.IsZero() {
		t.Errorf("shown: %+v", s)
	}
}

// A stream is one proxy's from its first request to its end.
func TestNodeStays(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	s.askAs(node(t, "default.web-2", nil), xds.TypeSecret, identity)
	s.ended(codes.InvalidArgument, "node id changed")
}
