package cp_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/registry"
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

// rest is longer than a stage takes that waits for nobody.
func (w *world) rest() { time.Sleep(xds.ConnectTimeout + 4*cp.RestRotation); synctest.Wait() }

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
	m := cptest.Mesh("default")
	m.MTLS = &policy.MTLS{EnabledBackend: backends[0]}
	for _, name := range backends {
		if name != "" {
			b := policy.Backend{Name: name, Type: policy.BackendBuiltin, DPCert: &policy.DPCert{}}
			b.DPCert.Rotation.Expiration = policy.Duration(time.Hour)
			m.MTLS.Backends = append(m.MTLS.Backends, b)
		}
	}
	if _, err := (registry.Registry{Store: w.store}).Put(w.t.Context(), m); err != nil {
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
		r, err := p.store.Get(p.t.Context(), cptest.Secret(policy.CACertName("default", name), nil).Key())
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
