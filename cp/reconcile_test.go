package cp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"koguma/cp/cptest"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// A permission's change reaches the proxies that it concerns, and no other. That others get nothing is seen by what
// comes first after something that is for them.
func TestPermissionReachesWhomItConcerns(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	proxies := map[string]*stream{}
	for i, s := range []string{"web", "api", "db"} {
		conn, variant := p.conn, variants[i%2]
		proxies[s] = p.joinBy(conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default."+s+"-1", brought(dataplane(s+"-1", s))))
	}
	// letsIn is whether the next message for a proxy is a listener that lets this service in.
	letsIn := func(to, from string) bool {
		t.Helper()
		u := proxies[to].expect(xds.TypeListener)
		return strings.Contains(protojson.Format(u.resources["inbound:"+address(to+"-1")+":8080"]), `"spiffe://default/`+from+`"`)
	}
	for i, c := range []struct {
		to, from string
		do       func()
		want     bool
	}{
		{"api", "web", func() { p.permit("p", "api", "web") }, true},
		{"api", "db", func() { p.permit("p", "api", "web", "db") }, true},
		{"api", "db", func() { p.delete("/meshes/default/traffic-permissions/p") }, false},
		{"db", "web", func() { p.permit("q", "db", "web") }, true},
	} {
		c.do()
		if letsIn(c.to, c.from) != c.want {
			t.Errorf("change %d: %s lets %s in: %v", i, c.to, c.from, !c.want)
		}
		for other := range proxies {
			if other == c.to {
				continue
			}
			marker := fmt.Sprintf("marker-%d-%s", i, other)
			p.permit("marker", other, marker)
			if !letsIn(other, marker) {
				t.Errorf("change %d reached %s", i, other)
			}
			p.delete("/meshes/default/traffic-permissions/marker")
			letsIn(other, "")
		}
	}
}

// Identities appear when mTLS is switched on, go with it, and come back.
func TestMTLSOnAndOff(t *testing.T) {
	t.Parallel()
	p := start(t)
	web := p.join("web-1", brought(dataplane("web-1", "web", "api")))
	web.ask(xds.TypeSecret, identity, trust)
	for range 2 {
		p.mtls("1h")
		verify(t, web.expect(xds.TypeSecret), identity, "spiffe://default/web")
		cluster := protojson.Format(web.expect(xds.TypeCluster).resources["api"])
		if !strings.Contains(cluster, "UpstreamTlsContext") {
			t.Errorf("no TLS towards others: %s", cluster)
		}
		web.expect(xds.TypeListener)
		if _, m := p.subscription("web-1"); m == nil || m.IssuedBackend != "ca-1" {
			t.Errorf("shown: %+v", m)
		}
		p.mtls("")
		for range 2 {
			if u := web.next(); strings.Contains(fmt.Sprint(u.resources), "Tls") || u.typ == xds.TypeSecret {
				t.Errorf("TLS is still there: %v", u.resources)
			}
		}
		p.eventually("the certificate to be shown no more", func() bool { _, m := p.subscription("web-1"); return m == nil })
	}
}

// Others find the inbounds that are ready, and no others, and a service whose instances differ in protocol is TCP.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	p := start(t)
	web := p.join("web-1", brought(dataplane("web-1", "web", "api")))
	web.ask(xds.TypeEndpoint, "api")
	if got := web.expect(xds.TypeEndpoint).addresses(t, "api"); got != "" {
		t.Errorf("endpoints %q before there are any", got)
	}
	api := func(name, more string) {
		p.apply(name, strings.Replace(dataplane(name, "api"), `"port":8080`, `"port":8080`+more, 1))
	}
	tagged := func(name, protocol string) {
		p.apply(name, strings.Replace(dataplane(name, "api"), `"kuma.io/service":"api"`, `"kuma.io/service":"api","kuma.io/protocol":"`+protocol+`"`, 1))
	}
	at := func(name string) string { return address(name) + ":8080" }
	for _, c := range []struct {
		what string
		do   func()
		want string
	}{
		{"ready", func() { api("api-1", ``) }, at("api-1")},
		{"state NotReady", func() { api("api-1", `,"state":"NotReady"`) }, ""},
		{"state Ready", func() { api("api-1", `,"state":"Ready"`) }, at("api-1")},
		{"state Ignored", func() { api("api-1", `,"state":"Ignored"`) }, ""},
		{"health ready", func() { api("api-1", `,"health":{"ready":true}`) }, at("api-1")},
		{"health not ready", func() { api("api-1", `,"health":{"ready":false}`) }, ""},
		{"advertised", func() {
			p.apply("api-1", strings.Replace(dataplane("api-1", "api"), `"address"`, `"advertisedAddress":"192.168.7.7","address"`, 1))
		}, "192.168.7.7:8080"},
		{"another service", func() { p.apply("api-1", dataplane("api-1", "other")) }, ""},
		{"two", func() { p.apply("api-2", dataplane("api-2", "api,api")) }, at("api-2") + " " + address("api-2") + ":8081"},
		{"deleted", func() { p.delete("/meshes/default/dataplanes/api-2") }, ""},
	} {
		c.do()
		if got := web.expect(xds.TypeEndpoint).addresses(t, "api"); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	http2 := func(u update) bool {
		return strings.Contains(protojson.Format(u.resources["api"]), "http2ProtocolOptions")
	}
	tagged("api-1", "grpc")
	if u := web.expect(xds.TypeCluster); !http2(u) {
		t.Error("not HTTP/2 where the only instance is gRPC")
	}
	web.expect(xds.TypeEndpoint)
	web.expect(xds.TypeListener)
	tagged("api-2", "http")
	if u := web.expect(xds.TypeCluster); http2(u) {
		t.Error("HTTP/2 although an instance does not speak it")
	}
}

// withoutCA is the mesh "default" with mTLS, and without the secrets of its CA.
func withoutCA(t *testing.T) policy.Resource {
	return parse(t, `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`)
}

// What is wrong on this side is shown, leaves a proxy what it has, and is forgotten when it has been put right.
func TestFaultIsShown(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.put(parse(t, dataplane("web-1", "web")))
		s := w.session(node(t, "default.web-1", nil))
		defer s.Close(false)
		synctest.Wait()
		time.Sleep(time.Second)
		before, _ := s.Snapshot()
		if before == nil {
			t.Fatal("nothing for the proxy")
		}
		shown := func() string { return w.core.Insight(key("web-1")).Subscriptions[0].Status.LastRejection }
		w.put(withoutCA(t))
		synctest.Wait()
		if reason := shown(); !strings.Contains(reason, `the CA of backend "ca-1"`) {
			t.Errorf("shown: %q", reason)
		}
		if after, _ := s.Snapshot(); after != before {
			t.Error("the proxy has lost its configuration")
		}
		w.put(cptest.Mesh("default"))
		synctest.Wait()
		if reason := shown(); reason != "" {
			t.Errorf("still shown: %q", reason)
		}
	})
}

func key(name string) policy.Key {
	return policy.Key{Type: policy.TypeDataplane, Mesh: "default", Name: name}
}

// endpoints are those of a cluster in a snapshot.
func endpoints(t *testing.T, s *xds.Snapshot, cluster string) int {
	t.Helper()
	var e endpointv3.ClusterLoadAssignment
	if err := proto.Unmarshal(s.Endpoints.Get(cluster).Body, &e); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range e.Endpoints {
		n += len(l.LbEndpoints)
	}
	return n
}

// listening has the proxy of a session say that its Envoy listens, and waits until all know.
func listening(s xds.Session) {
	synctest.Wait()
	snapshot, _ := s.Snapshot()
	s.Observe(xds.Event{Kind: xds.Acked, Type: xds.TypeListener, Version: snapshot.Listeners.Version()})
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// A proxy that has just come gets no traffic before its Envoy listens. One that was there before the control plane gets
// it all along.
func TestTrafficWaitsForListeners(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		there := parse(t, dataplane("web-1", "web"))
		there.Metadata().Labels = map[string]string{"koguma.io/lifetime": "session"}
		w.put(there, parse(t, dataplane("api-1", "api", "web")))
		defer w.run()()
		api := w.session(node(t, "default.api-1", nil))
		defer api.Close(false)
		expect := func(n int) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if s, _ := api.Snapshot(); endpoints(t, s, "web") != n {
				t.Errorf("%d instances get traffic, want %d", endpoints(t, s, "web"), n)
			}
		}
		expect(1)
		web := w.session(node(t, "default.web-2", map[string]any{"dataplane.resource": dataplane("web-2", "web")}))
		defer web.Close(false)
		expect(1)
		web.Observe(xds.Event{Kind: xds.Acked, Type: xds.TypeCluster})
		expect(1)
		listening(web)
		expect(2)
	})
}

// A proxy that comes and goes so fast that both are seen at once is gone.
func TestComeAndGoneAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.put(parse(t, dataplane("web-1", "web")), parse(t, dataplane("api-1", "api", "web")))
		defer w.run()()
		api := w.session(node(t, "default.api-1", nil))
		defer api.Close(false)
		for range 200 {
			w.session(node(t, "default.web-1", nil)).Close(true)
			synctest.Wait()
			if s, _ := api.Snapshot(); endpoints(t, s, "web") != 0 {
				t.Fatal("it gets traffic")
			}
			web := w.session(node(t, "default.web-1", nil))
			listening(web)
			if s, _ := api.Snapshot(); endpoints(t, s, "web") != 1 {
				t.Fatal("it gets no traffic when it is back")
			}
			web.Close(false)
			synctest.Wait()
		}
	})
}

// A thousand instances that come at once do not make a thousand changes for those who dial them.
func TestManyInstancesAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.put(parse(t, dataplane("api-1", "api", "web")))
		defer w.run()()
		api := w.session(node(t, "default.api-1", nil))
		defer api.Close(false)
		synctest.Wait()
		_, changed := api.Snapshot()
		changes := 0
		for i := range 1000 {
			w.put(parse(t, dataplane(fmt.Sprintf("web-%d", i), "web")))
			synctest.Wait()
			time.Sleep(time.Millisecond)
			select {
			case <-changed:
				changes++
				_, changed = api.Snapshot()
			default:
			}
		}
		time.Sleep(time.Second)
		s, _ := api.Snapshot()
		if n := endpoints(t, s, "web"); n != 1000 {
			t.Errorf("%d endpoints, want 1000", n)
		}
		if changes > 110 {
			t.Errorf("%d changes in a second", changes)
		}
	})
}
