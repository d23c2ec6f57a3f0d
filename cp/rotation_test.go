package cp_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/cp"
	"koguma/policy"
	"koguma/xds"
)

// puppet is a proxy that takes and ACKs when the test says so.
type puppet struct {
	*world
	name    string
	key     crypto.Signer
	held    string // its certificate
	session xds.Session
	sent    string // the version of the secrets that it was sent last
	acked   string
}

// puppet is a proxy that has joined and has asked for secrets.
func (w *world) puppet(name string) *puppet {
	w.t.Helper()
	p := &puppet{world: w, name: name, key: newSigner(w.t)}
	p.join()
	return p
}

func (p *puppet) join() {
	p.t.Helper()
	service, _, _ := strings.Cut(p.name, "-")
	n := node(p.t, "default."+p.name, brought(dataplane(p.name, service)))
	p.session, p.sent, p.acked = p.world.session(n), "", ""
	var held []string
	if p.held != "" {
		held = []string{p.held}
	}
	asking := node(p.t, "default."+p.name, csrOf(p.t, p.key, held...))
	p.session.Observe(xds.Event{Kind: xds.Subscribed, Type: xds.TypeSecret, Node: asking, Names: []string{identity, trust}})
	time.Sleep(time.Second) // a new Dataplane may wait
	synctest.Wait()
}

// take is sent what there is.
func (p *puppet) take() *puppet {
	p.t.Helper()
	snapshot := p.snapshot()
	if snapshot == nil {
		p.t.Fatalf("there is nothing for %s", p.name)
	}
	if v := snapshot.Secrets.Version(); v != p.sent {
		p.sent = v
		p.session.Observe(xds.Event{Kind: xds.Sent, Type: xds.TypeSecret, Version: v})
		p.held = string(p.secret(snapshot, identity).GetTlsCertificate().GetCertificateChain().GetInlineBytes())
	}
	return p
}

// snapshot is what there is, once certificates have been made.
func (p *puppet) snapshot() *xds.Snapshot {
	p.session.Snapshot()
	time.Sleep(100 * time.Millisecond)
	snapshot, _ := p.session.Snapshot()
	return snapshot
}

// ack accepts what it was sent.
func (p *puppet) ack() {
	p.t.Helper()
	if p.acked != p.sent {
		p.acked = p.sent
		p.session.Observe(xds.Event{Kind: xds.Acked, Type: xds.TypeSecret, Version: p.sent})
	}
	p.rest()
}

func (w *world) rest() { time.Sleep(2 * cp.RestRotation); synctest.Wait() }

func (p *puppet) secret(s *xds.Snapshot, name string) *tlsv3.Secret {
	p.t.Helper()
	var secret tlsv3.Secret
	if err := proto.Unmarshal(s.Secrets.Get(name).Body, &secret); err != nil {
		p.t.Fatal(err)
	}
	return &secret
}

// enable has the mesh list these backends and enable the first; "" is that mTLS is off.
func (w *world) enable(backends ...string) {
	w.t.Helper()
	m := mesh("default")
	m.MTLS = &policy.MTLS{EnabledBackend: backends[0]}
	for _, name := range backends {
		if name != "" {
			b := policy.Backend{Name: name, Type: policy.BackendBuiltin, DPCert: &policy.DPCert{}}
			b.DPCert.Rotation.Expiration = policy.Duration(time.Hour)
			m.MTLS.Backends = append(m.MTLS.Backends, b)
		}
	}
	if _, err := cp.Put(w.t.Context(), w.store, m); err != nil {
		w.t.Fatal(err)
	}
	w.rest()
}

// stands checks the trust of the mesh: "stage: who signs of all that are trusted".
func (w *world) stands(want string) {
	w.t.Helper()
	synctest.Wait()
	v := w.core.Trust("default")
	var trusted []string
	for _, a := range v.Authorities {
		trusted = append(trusted, a.Backend)
	}
	if got := fmt.Sprintf("%s: %s of %s", v.Stage, v.Issuing, strings.Join(trusted, " ")); got != want {
		w.t.Errorf("got %q, want %q; it waits for %v", got, want, v.WaitsFor)
	}
}

// waits checks whom the rotation waits for, by parts of what is said of each.
func (w *world) waits(want ...string) {
	w.t.Helper()
	var got []string
	for _, b := range w.core.Trust("default").WaitsFor {
		got = append(got, b.Proxy+": "+b.Why)
	}
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && strings.Contains(got[i], want[i])
	}
	if !ok {
		w.t.Errorf("it waits for %q, want %q", got, want)
	}
}

// signedBy is the backend that signed the certificate of a proxy.
func (p *puppet) signedBy() string {
	p.t.Helper()
	chain, err := certs.ParseChain([]byte(p.held))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"ca-1", "ca-2", "ca-3"} {
		r, err := p.store.Get(p.t.Context(), secret(policy.CACertName("default", name), nil).Key())
		if err != nil {
			continue
		}
		root, err := certs.ParseChain(r.(*policy.Secret).Data)
		if err != nil {
			p.t.Fatal(err)
		}
		if chain[0].CheckSignatureFrom(root[0]) == nil {
			return name
		}
	}
	return "somebody else"
}

func inRotation(t *testing.T, test func(t *testing.T, w *world, web, api *puppet)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		stop := w.run()
		defer func() { w.stop() }()
		w.stop = stop
		w.enable("ca-1")
		w.put(secret(policy.RevocationsName("default"), []byte("stolen")))
		w.rest()
		web, api := w.puppet("web-1"), w.puppet("api-1")
		web.take().ack()
		api.take().ack()
		test(t, w, web, api)
		web.session.Close(true)
		api.session.Close(true)
	})
}

// restart is another control plane over the same store. Nobody is connected to it.
func (w *world) restart(all ...*puppet) {
	for _, p := range all {
		p.session.Close(false)
	}
	w.stop()
	w.renew()
	w.stop = w.run()
	w.rest()
}

// stages are how to come to each of the stages of a rotation from ca-1 to ca-2.
var stages = []struct {
	stands string
	come   func(w *world, web, api *puppet)
}{
	{"trust-both: ca-1 of ca-1 ca-2", func(w *world, web, api *puppet) { w.enable("ca-2", "ca-1") }},
	{"issue: ca-2 of ca-1 ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
	{"drop: ca-2 of ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
	{"settled: ca-2 of ca-2", func(w *world, web, api *puppet) { web.take().ack(); api.take().ack() }},
}

// Each stage waits for the ACKs of all, and goes on with the last of them.
func TestRotationWaitsForACKs(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.stands("settled: ca-1 of ca-1")
		w.enable("ca-2", "ca-1")
		for i, s := range stages[:3] {
			w.stands(s.stands)
			time.Sleep(5 * time.Minute)
			w.stands(s.stands) // nobody has been sent anything
			web.take()
			api.take()
			w.rest()
			why := []string{"it has not taken the roots of ca-2 yet", "it may still use a certificate of ca-1", "it may still trust"}[i]
			w.waits("api-1: "+why, "web-1: "+why)
			web.ack()
			w.stands(s.stands)
			w.waits("api-1: ")
			api.ack()
			w.stands(stages[i+1].stands)
		}
		w.waits()
		if got := web.signedBy() + api.signedBy(); got != "ca-2ca-2" {
			t.Errorf("the certificates are of %s", got)
		}
		if log := w.log.String(); strings.Count(log, "trust of the mesh") != 5 || !strings.Contains(log, "before=trust-both after=") {
			t.Errorf("the log has %s", log)
		}
	})
}

// A control plane that is started again in any stage goes on where it was, and takes nobody's ACK for granted.
func TestRotationAfterRestart(t *testing.T) {
	t.Parallel()
	for last := range 3 {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			for _, s := range stages[:last+1] {
				s.come(w, web, api)
			}
			at := stages[last].stands
			w.stands(at)
			w.restart(web, api)
			time.Sleep(5 * time.Minute)
			w.stands(at)
			w.waits("api-1: not connected since 2000-01-01 ", "web-1: not connected")
			web.join()
			w.rest()
			w.stands(at)
			web.take().ack()
			w.stands(at)
			w.waits("api-1: not connected")
			api.join()
			for range 4 {
				api.take().ack()
				web.take().ack()
			}
			w.stands("settled: ca-2 of ca-2")
		})
	}
}

// Until the old CA is dropped there is a way back, by the Mesh alone.
func TestRotationAborted(t *testing.T) {
	t.Parallel()
	for last, want := range []int{0, 1} {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			for _, s := range stages[:last+1] {
				s.come(w, web, api)
			}
			if last == 1 {
				web.take().ack() // has its certificate of ca-2
			}
			if last == 0 {
				web.take().ack() // has both roots
			}
			before := api.held
			w.enable("ca-1", "ca-2")
			if want == 0 {
				w.stands("drop: ca-1 of ca-1")
			} else {
				w.stands("issue: ca-1 of ca-1 ca-2")
			}
			for range 3 {
				web.take().ack()
				api.take().ack()
			}
			w.stands("settled: ca-1 of ca-1")
			if web.signedBy() != "ca-1" || api.held != before {
				t.Errorf("stage %d: web's certificate is of %s, and api's is the same: %v", last, web.signedBy(), api.held == before)
			}
		})
	}
}

// Who refuses the new roots is named with its own words, and nothing goes on.
func TestRotationRefused(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		api.take().ack()
		web.take().session.Observe(xds.Event{Kind: xds.Nacked, Type: xds.TypeSecret, Version: web.sent, Reason: "no room for two"})
		w.rest()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.waits("web-1: it refused its secrets: no room for two")
		if got := cp.Pending(web.session, 1); len(got) == 0 || got[0].Refusal != "no room for two" {
			t.Errorf("pending: %+v", got)
		}
	})
}

// Who is not connected is waited for until it is back, or its certificate has ended, and named with both. Who left in good
// order is not; nor is one who has had its ACK before it vanished.
func TestRotationWithoutSomebody(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		left, gone := w.puppet("left-1"), w.puppet("gone-1")
		left.take().ack()
		gone.take().ack()
		left.session.Close(true)
		gone.session.Close(false)
		began := time.Now()
		w.enable("ca-2", "ca-1")
		api.take().ack()
		web.take().ack()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.waits("gone-1: not connected since 2000-01-01 00:00:")
		if b := w.core.Trust("default").WaitsFor; len(b) != 1 || b[0].Until.Sub(began) < 50*time.Minute || b[0].Until.Sub(began) > time.Hour ||
			!strings.Contains(b[0].Why, "; its certificate of ca-1 ends 2000-01-01 0") {
			t.Errorf("it waits for %v", b)
		}
		time.Sleep(time.Hour)
		w.stands("drop: ca-2 of ca-2") // the certificates of all have ended
	})
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		web.take().ack()
		web.session.Close(false)
		api.take().ack()
		w.stands("issue: ca-2 of ca-1 ca-2")
		api.take().ack()
		w.waits("web-1: not connected") // it has its old certificate
		web.join()
	})
}

// By force the stage is passed without those that it waits for.
func TestRotationForced(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("ca-2", "ca-1")
		web.take().ack()
		for i, s := range stages[:3] {
			w.stands(s.stands)
			passed, err := w.core.Force(t.Context(), "default")
			if err != nil || len(passed) == 0 || passed[0].Proxy != "api-1" {
				t.Errorf("stage %d: passed %v, %v", i, passed, err)
			}
			w.rest()
		}
		w.stands(stages[3].stands)
		if log := w.log.String(); !strings.Contains(log, "forced past") || !strings.Contains(log, "api-1: it") {
			t.Error("the log does not say who was not waited for")
		}
	})
}

// Nothing needs to be waited for where there is nobody.
func TestRotationOfNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		w.enable("ca-1")
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-2 of ca-2")
		w.enable("ca-3", "ca-2")
		w.stands("settled: ca-3 of ca-3")
	})
}

// While mTLS is off, whom certificates were from is remembered until they have ended: switched on again with another CA,
// the mesh trusts both.
func TestRotationWhileMTLSWasOff(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.enable("", "ca-1", "ca-2")
		w.stands("settled: ca-1 of ca-1")
		w.enable("ca-2", "ca-1")
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		w.enable("", "ca-1", "ca-2")
		time.Sleep(time.Hour)
		w.stands(":  of ")
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-2 of ca-2")
	})
}

// A backend whose CA has become another is rotated as well: the old one signs while it is remembered, and after a restart
// nobody does until everybody trusts the new one.
func TestRotationInPlace(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
			proxyKey := key("new-1")
			ca, err := certs.NewCA(certs.CAOptions{CommonName: "default", Life: 100 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			key, err := ca.KeyPEM()
			if err != nil {
				t.Fatal(err)
			}
			w.put(secret(policy.CACertName("default", "ca-1"), ca.CertPEM()))
			if v := w.core.Trust("default"); !strings.Contains(v.Fault, `the CA of backend "ca-1"`) {
				w.rest()
				if v = w.core.Trust("default"); !strings.Contains(v.Fault, `the CA of backend "ca-1"`) {
					t.Errorf("half a CA is said to be %q", v.Fault)
				}
			}
			w.put(secret(policy.CAKeyName("default", "ca-1"), key))
			w.rest()
			w.stands("trust-both: ca-1 of ca-1 ca-1")
			if restarted {
				w.restart(web, api)
				web.join()
				api.join()
			}
			fresh := w.puppet("new-1")
			fresh.takeRoots()
			faults := w.core.Insight(proxyKey).Subscriptions[0].Status.LastRejection
			if lost := strings.Contains(faults, "signs until everybody trusts the next, and cannot"); lost != restarted {
				t.Errorf("restarted %v: a new proxy: %q", restarted, faults)
			}
			for range 4 {
				for _, p := range []*puppet{web, api, fresh} {
					p.takeRoots().ack()
				}
			}
			w.stands("settled: ca-1 of ca-1")
			if web.signedBy() != "ca-1" {
				t.Error("it is not signed by the new CA")
			}
			fresh.session.Close(true)
		})
	}
}

// takeRoots is take for a proxy that may have no certificate yet.
func (p *puppet) takeRoots() *puppet {
	p.t.Helper()
	snapshot := p.snapshot()
	if snapshot.Secrets.Get(identity) != nil {
		return p.take()
	}
	if p.sent = snapshot.Secrets.Version(); p.sent != p.acked {
		p.session.Observe(xds.Event{Kind: xds.Sent, Type: xds.TypeSecret, Version: p.sent})
	}
	return p
}

// A CA that cannot sign a revocation list is not trusted while a certificate lives that is on one, unless by force: it
// would be good again.
func TestRotationToCAWithoutLists(t *testing.T) {
	t.Parallel()
	cert, key := caWithoutLists(t)
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		thief := w.thief("stolen-1", 30*time.Minute)
		w.rest()
		if list := web.list(); len(list) != 1 {
			t.Errorf("on the list: %v", list)
		}
		w.put(secret(policy.CACertName("default", "ca-2"), cert), secret(policy.CAKeyName("default", "ca-2"), key))
		w.enable("ca-2", "ca-1")
		w.stands("settled: ca-1 of ca-1")
		w.waits(": backend ca-2 cannot sign a revocation list")
		if b := w.core.Trust("default").WaitsFor; len(b) != 1 || !b[0].Until.Equal(thief) {
			t.Errorf("it waits for %v, want until %v", b, thief)
		}
		time.Sleep(time.Until(thief))
		w.rest()
		w.stands("trust-both: ca-1 of ca-1 ca-2")
	})
}

// Each CA that is trusted signs a list of its own, as soon as one has something to list: to Envoy a list for one CA
// means one for each.
func TestRotationHasListsOfAll(t *testing.T) {
	t.Parallel()
	inRotation(t, func(t *testing.T, w *world, web, api *puppet) {
		w.thief("stolen-1", 30*time.Minute)
		w.rest()
		w.enable("ca-2", "ca-1")
		w.stands("trust-both: ca-1 of ca-1 ca-2")
		if got := web.list(); len(got) != 2 || len(got[0]) != 1 || len(got[1]) != 0 {
			t.Errorf("the lists have %v", got)
		}
	})
}

// thief has it written down that a certificate of ca-1 was got by the token "stolen", and returns when it ends.
func (w *world) thief(name string, life time.Duration) time.Time {
	w.t.Helper()
	end := time.Now().Add(life).UTC()
	r, err := w.store.Get(w.t.Context(), policy.Key{Type: policy.TypeTrust, Mesh: "default", Name: "default"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(&policy.Issuance{Meta: policy.Meta{Type: policy.TypeIssuance, Mesh: "default", Name: name}, Certificates: []policy.IssuedCertificate{
		{Serial: "7", Service: "web", TokenID: "stolen", Authority: r.(*policy.Trust).Issuing, NotAfter: end},
	}})
	return end
}

// list is the serial numbers on each of the lists that a proxy is sent, whose signatures are those of the roots in order.
func (p *puppet) list() (lists [][]string) {
	p.t.Helper()
	c := p.secret(p.snapshot(), trust).GetValidationContext()
	roots, err := certs.ParseChain(c.GetTrustedCa().GetInlineBytes())
	if err != nil {
		p.t.Fatal(err)
	}
	for i, der := range pemBlocks(c.GetCrl().GetInlineBytes()) {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := list.CheckSignatureFrom(roots[i]); err != nil {
			p.t.Error(err)
		}
		var serials []string
		for _, e := range list.RevokedCertificateEntries {
			serials = append(serials, e.SerialNumber.Text(16))
		}
		lists = append(lists, serials)
	}
	return lists
}

func pemBlocks(text []byte) (blocks [][]byte) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return blocks
		}
		blocks, text = append(blocks, block.Bytes), rest
	}
}
