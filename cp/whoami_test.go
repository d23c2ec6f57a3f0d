package cp_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"koguma/certs"
	"koguma/cp/registry"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// whoami is who a proxy is, as the API tells it to a caller that says these things of itself.
func (p *plane) whoami(name string, header http.Header) policy.ProxyIdentity {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+p.addrs.API.String()+"/meshes/default/dataplanes/"+name+"/_identity", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	got := send(p.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
	var id policy.ProxyIdentity
	if err := policy.Decode([]byte(got.Body), &id); got.Status != http.StatusOK || err != nil {
		p.t.Fatalf("%d %v %s", got.Status, err, got.Body)
	}
	if strings.Contains(got.Body, "PRIVATE") || strings.Contains(got.Body, "eyJ") {
		p.t.Errorf("a key or a token in the answer:\n%s", got.Body)
	}
	return id
}

// states are the serial numbers of the certificates, those that are pending in brackets.
func states(id policy.ProxyIdentity) string {
	var all []string
	for _, c := range id.Certificates {
		if c.Acked {
			all = append(all, c.Serial)
		} else {
			all = append(all, "("+c.Serial+")")
		}
	}
	return strings.Join(all, " ")
}

// A certificate is in use when the proxy has said so; until then, or when it was refused, it is pending, and the one before
// stays.
func TestIdentityFollowsAcks(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	for _, variant := range variants {
		s := p.joinBy(p.conn, variant, sign(t, token.Claims{Mesh: "default"}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		shows := func(want string) policy.ProxyIdentity {
			t.Helper()
			var id policy.ProxyIdentity
			p.eventually("the certificates "+want, func() bool { id = p.whoami("web-1", nil); return states(id) == want })
			return id
		}
		shows("")
		s.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
		u := s.hold()
		first := certs.Serial(chain(t, u.secret(t, identity))[0])
		if id := shows("(" + first + ")"); len(id.Roots) != 1 || id.Roots[0].Acked {
			t.Errorf("%s: roots %+v", variant, id.Roots)
		}
		s.answer(u, "")
		id := shows(first)
		c := id.Certificates[0]
		if c.SPIFFEID != "spiffe://default/web" || c.Service != "web" || c.KeyOrigin != policy.KeyOfAgent || c.Issuer.Subject != "CN=default,O=Koguma" ||
			len(id.Roots) != 1 || !id.Roots[0].Acked || id.Roots[0].Fingerprint != c.Issuer.Fingerprint || c.NotAfter.IsZero() {
			t.Errorf("%s: %+v, roots %+v", variant, c, id.Roots)
		}
		if l := id.ControlPlane; !l.Connected || l.InstanceID == "" || l.Since.IsZero() || id.Token == nil || id.Token.KeyID != "2" {
			t.Errorf("%s: %+v", variant, id)
		}
		if id.Renewal.Result != policy.RenewalOK || id.Renewal.Last.IsZero() || id.Renewal.Overdue || id.LastError != nil {
			t.Errorf("%s: renewal %+v, error %+v", variant, id.Renewal, id.LastError)
		}
		s.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
		u = s.hold()
		second := certs.Serial(chain(t, u.secret(t, identity))[0])
		shows(first + " (" + second + ")")
		s.answer(u, "no such luck")
		p.eventually("the refusal", func() bool {
			id := p.whoami("web-1", nil)
			return id.LastError != nil && id.LastError.Reason == "no such luck" && states(id) == first+" ("+second+")"
		})
		s.leave()
		p.eventually("the Dataplane to go", func() bool { return p.dataplanes() == "" })
	}
}

// An Envoy without an agent has a key from here, and its next certificate too.
func TestIdentityWithoutAgent(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	s := p.join("web-1", brought(dataplane("web-1", "web")))
	s.ask(xds.TypeSecret, identity, trust)
	s.expect(xds.TypeSecret)
	p.eventually("the certificate", func() bool {
		id := p.whoami("web-1", nil)
		return len(id.Certificates) == 1 && id.Certificates[0].Acked && id.Certificates[0].KeyOrigin == policy.KeyOfControlPlane
	})
}

// Whoever is not an administrator gets all but the ids of token and key.
func TestIdentityForEverybody(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.join("web-1", brought(dataplane("web-1", "web")))
	mine := p.whoami("web-1", nil)
	theirs := p.whoami("web-1", http.Header{"X-Forwarded-For": {"192.0.2.1"}})
	if mine.Token == nil || mine.Token.ID == "" || mine.Token.KeyID == "" {
		t.Errorf("to an administrator: %+v", mine.Token)
	}
	if theirs.Token == nil || theirs.Token.ID != "" || theirs.Token.KeyID != "" || !theirs.Token.ExpiresAt.Equal(mine.Token.ExpiresAt) {
		t.Errorf("to everybody: %+v", theirs.Token)
	}
}

// Of a proxy that has gone it is told what was seen last; of one that was never there, that.
func TestIdentityOfWhoHasGone(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	p.apply("web-1", dataplane("web-1", "web"))
	if id := p.whoami("web-1", nil); id.ControlPlane.Connected || !id.ControlPlane.Until.IsZero() || id.Certificates == nil || len(id.Certificates) != 0 {
		t.Errorf("before it came: %+v", id)
	}
	s := p.join("web-1", nil)
	s.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
	serial := certs.Serial(chain(t, s.expect(xds.TypeSecret).secret(t, identity))[0])
	p.eventually("the certificate", func() bool { return states(p.whoami("web-1", nil)) == serial })
	s.askAs(node(t, "default.web-1", csrOf(t, newSigner(t))), xds.TypeSecret, identity, trust)
	u := s.hold()
	serial += " (" + certs.Serial(chain(t, u.secret(t, identity))[0]) + ")"
	s.answer(u, "no such luck")
	s.leave()
	p.eventually("the proxy to be gone", func() bool { return !p.whoami("web-1", nil).ControlPlane.Connected })
	if id := p.whoami("web-1", nil); states(id) != serial || id.ControlPlane.Until.IsZero() || id.ControlPlane.Since.IsZero() {
		t.Errorf("after it went: %+v", id)
	}
	p.join("web-1", nil)
	if id := p.whoami("web-1", nil); !id.ControlPlane.Connected || len(id.Certificates) != 0 || id.LastError == nil || id.LastError.Reason != "no such luck" {
		t.Errorf("when it is back: %+v", id)
	}
}

// Ends are there as metrics, the mesh's roots by backend, and go with mTLS.
func TestEndsAreMetrics(t *testing.T) {
	t.Parallel()
	p := start(t)
	root := `koguma_mesh_root_not_after_seconds{backend="ca-1",mesh="default"}`
	if p.metric(root) != 0 {
		t.Error("there is a root without mTLS")
	}
	now := int(time.Now().Unix())
	if end := p.metric("koguma_server_certificate_not_after_seconds"); end < now+29*24*3600 || end > now+31*24*3600 {
		t.Errorf("the control plane's certificate ends at %d, and now is %d", end, now)
	}
	p.mtls("1h")
	p.eventually("the root's end", func() bool { return p.metric(root) > now+9*365*24*3600 })
	p.mtls("")
	p.eventually("no root", func() bool { return p.metric(root) == 0 })
}

// asks has web-1 ask for its certificate with a new key, and take what it is given within a second. It is for a bubble.
func asks(t *testing.T, s xds.Session) {
	t.Helper()
	s.Observe(xds.Event{Kind: xds.Subscribed, Type: xds.TypeSecret, Names: []string{identity},
		Node: node(t, "default.web-1", csrOf(t, newSigner(t)))})
	time.Sleep(time.Second)
	synctest.Wait()
	s.Snapshot()
}

// A proxy that does not ask for its next certificate in time is counted, and no longer when it has.
func TestOverdueIsCounted(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		if _, err := (registry.Registry{Store: w.store}).Put(t.Context(), parse(t, `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[
			{"name":"ca-1","type":"builtin","dpCert":{"rotation":{"expiration":"1h"}}}]}}`)); err != nil {
			t.Fatal(err)
		}
		defer w.run()()
		w.put(parse(t, dataplane("web-1", "web")))
		s := w.session(node(t, "default.web-1", nil))
		defer s.Close(false)
		count := func(want int) {
			t.Helper()
			if got := w.core.Overdue(); got != want {
				t.Errorf("%d overdue, want %d", got, want)
			}
		}
		count(0)
		asks(t, s)
		count(0)
		time.Sleep(49 * time.Minute)
		count(0)
		time.Sleep(3 * time.Minute)
		count(1)
		asks(t, s)
		count(0)
	})
}

// A certificate that cannot be made is a failed renewal, with the reason, and counted each time it is tried.
func TestFailureToIssueIsTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		if _, err := (registry.Registry{Store: w.store}).Put(t.Context(), parse(t, `{"type":"Mesh","name":"default","mtls":{"enabledBackend":"ca-1","backends":[
			{"name":"ca-1","type":"builtin","dpCert":{"rotation":{"expiration":"1h"}},"conf":{"caCert":{"expiration":"2h"}}}]}}`)); err != nil {
			t.Fatal(err)
		}
		defer w.run()()
		w.put(parse(t, dataplane("web-1", "web")))
		s := w.session(node(t, "default.web-1", nil))
		defer s.Close(false)
		asks(t, s)
		id := w.core.Identity(key("web-1"))
		if id.Renewal.Result != policy.RenewalOK || id.LastError != nil {
			t.Errorf("%+v, error %+v", id.Renewal, id.LastError)
		}
		time.Sleep(2 * time.Hour)
		asks(t, s)
		id = w.core.Identity(key("web-1"))
		if id.Renewal.Result != policy.RenewalFailed || id.LastError == nil || !strings.Contains(id.LastError.Reason, "it would have ended already") {
			t.Errorf("with a CA that has ended: %+v, error %+v", id.Renewal, id.LastError)
		}
		families, err := w.core.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "koguma_certificates_failed_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
				t.Errorf("%v", f)
			}
		}
	})
}
