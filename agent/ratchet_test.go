package agent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

// mesh is a strict one with a proxy that takes requests of the service "client", and dials "db". Its workload counts what
// reaches it of others.
type mesh struct {
	*running
	t       *testing.T
	cp      *fakeCP
	at      netip.AddrPort // of the inbound
	view    xds.View
	reached atomic.Int64
	tries   [4]atomic.Int64 // by each of the strangers
}

func startMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, cp: startCP(t)}
	workload := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stranger" {
			m.reached.Add(1)
		}
		fmt.Fprint(w, "hello")
	}))
	t.Cleanup(workload.Close)
	ports := [2]netip.AddrPort{}
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = netip.MustParseAddrPort(l.Addr().String())
	}
	m.at = ports[0]
	m.view = xds.View{
		Mesh: "default", Service: "web", MTLS: true, Mode: policy.ModeStrict, Notes: true, Roots: string(m.cp.meshCA.CertPEM()),
		MeshCreated: 1000, MeshChanged: 2000,
		Inbounds: []xds.Inbound{{
			Listen: m.at, Workload: netip.MustParseAddrPort(workload.Listener.Addr().String()), Service: "web",
			Protocol: policy.ProtocolHTTP, Sources: []policy.Source{{Service: "client"}}, Callers: []string{"client"},
		}},
		Outbounds: []xds.Outbound{{
			Listen: ports[1], Service: "db", Protocol: policy.ProtocolTCP, Endpoints: &xds.Endpoints{Cluster: "db"},
		}},
	}
	return m
}

// build is the snapshot of the mesh with a change. The notes of inbounds say what the view says.
func (m *mesh) build(change func(*xds.View)) *xds.Snapshot {
	v := m.view
	change(&v)
	v.Inbounds = append([]xds.Inbound{}, v.Inbounds...)
	v.Inbounds[0].Note.Mode = v.Mode
	s, err := new(xds.Builder).Build(&v)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *mesh) good() *xds.Snapshot { return m.build(func(*xds.View) {}) }

// listener is the snapshot with a change of the inbound.
func (m *mesh) listener(change func(*listenerv3.Listener)) *xds.Snapshot {
	s := m.good()
	s.Listeners = m.edit(s.Listeners, xds.ListenerOf(m.at), new(listenerv3.Listener), func(l proto.Message) {
		change(l.(*listenerv3.Listener))
	})
	return s
}

// cluster is the snapshot with a change of the cluster that leads to "db".
func (m *mesh) cluster(change func(*clusterv3.Cluster)) *xds.Snapshot {
	s := m.good()
	s.Clusters = m.edit(s.Clusters, "db", new(clusterv3.Cluster), func(c proto.Message) { change(c.(*clusterv3.Cluster)) })
	return s
}

// trust is the snapshot with another secret of the CA.
func (m *mesh) trust(c *tlsv3.CertificateValidationContext) *xds.Snapshot {
	s := m.good()
	name := xds.CASecretName("default")
	s.Secrets = m.edit(s.Secrets, name, new(tlsv3.Secret), func(p proto.Message) {
		p.(*tlsv3.Secret).Type = &tlsv3.Secret_ValidationContext{ValidationContext: c}
	})
	return s
}

// edit is the set with a change of one resource.
func (m *mesh) edit(set *xds.Set, name string, into proto.Message, change func(proto.Message)) *xds.Set {
	m.t.Helper()
	var all []*xds.Resource
	for _, r := range set.All() {
		if r.Name == name {
			if err := proto.Unmarshal(r.Body, into); err != nil {
				m.t.Fatal(err)
			}
			change(into)
			body, err := proto.Marshal(into)
			if err != nil {
				m.t.Fatal(err)
			}
			r = xds.NewResource(name, body)
		}
		all = append(all, r)
	}
	return xds.NewSet(all...)
}

// send gives the control plane a snapshot, and waits until the agent has answered: with a refusal of one type, or by
// having taken over what there is.
func (m *mesh) send(s *xds.Snapshot, refused string) {
	m.t.Helper()
	before := m.cp.saw(is(xds.Nacked, refused))
	m.cp.set(func(to *xds.Snapshot) { *to = *s })
	eventually(m.t, func() error {
		if refused != "" && m.cp.saw(is(xds.Nacked, refused)) > before {
			return nil
		}
		for _, typ := range []string{xds.TypeCluster, xds.TypeListener} {
			if last := m.lastAnswer(typ); refused != "" || last.Kind != xds.Acked || last.Version != s.Of(typ).Version() {
				return fmt.Errorf("the last answer to a %s is %+v", typ, last)
			}
		}
		return nil
	})
}

// lastAnswer is what became of the newest response of a type.
func (m *mesh) lastAnswer(typ string) (last xds.Event) {
	m.cp.read(func() {
		for _, e := range m.cp.events {
			if e.Type == typ && (e.Kind == xds.Acked || e.Kind == xds.Nacked) {
				last = e
			}
		}
	})
	return last
}

// strangers try to reach the workload until the test ends: in plaintext, with TLS and no certificate, with that of
// another mesh, and with that of a service of the mesh that has no permission.
func (m *mesh) strangers() (stop func()) {
	certificates := map[string]*tls.Config{
		"nobody":   {},
		"foreign":  {Certificates: []tls.Certificate{m.certificate(newCA(m.t, "default"), "client")}},
		"intruder": {Certificates: []tls.Certificate{m.certificate(m.cp.meshCA, "intruder")}},
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	var all sync.WaitGroup
	n := 0
	try := func(dial func() (net.Conn, error)) {
		tries := &m.tries[n]
		n++
		all.Go(func() {
			for ; ctx.Err() == nil; tries.Add(1) {
				if c, err := dial(); err == nil {
					_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
					_, _ = io.WriteString(c, "GET /stranger HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
					_, _ = c.Read(make([]byte, 1))
					_ = c.Close()
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	try(func() (net.Conn, error) { return net.Dial("tcp", m.at.String()) })
	for _, config := range certificates {
		config.InsecureSkipVerify, config.ServerName = true, xds.ServerName("client", "web", "default")
		try(func() (net.Conn, error) {
			return tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", m.at.String(), config)
		})
	}
	return func() { cancel(); all.Wait() }
}

// haveTried waits until each of the strangers has begun to try once more, and failed.
func (m *mesh) haveTried() {
	m.t.Helper()
	for i := range m.tries {
		before := m.tries[i].Load()
		eventually(m.t, func() error {
			if m.tries[i].Load() < before+2 {
				return fmt.Errorf("stranger %d is still at it", i)
			}
			return nil
		})
	}
}

// certificate is one of a CA for a service of the mesh.
func (m *mesh) certificate(ca *certs.CA, service string) tls.Certificate {
	m.t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		m.t.Fatal(err)
	}
	id, err := certs.WorkloadID("default", service)
	if err != nil {
		m.t.Fatal(err)
	}
	chain, err := ca.Issue(m.t.Context(), certs.Request{Key: key.Public(), ID: id, Life: time.Hour})
	if err != nil {
		m.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
}

// says waits until /ready is what it should be, with a line that has these words, or with none at all for "".
func (m *mesh) says(words string) {
	m.t.Helper()
	const line = "is refused, the last good one stays"
	eventually(m.t, func() error {
		got, err := get(http.DefaultClient, m.url("/ready"))
		if err != nil || !strings.Contains(got, words) || strings.Contains(got, line) != (words != "") {
			return fmt.Errorf("/ready is %q %v, want %q in it", got, err, words)
		}
		return nil
	})
}

// Whatever makes a control plane lose the identity of a strict inbound, nothing in plaintext and nobody without permission
// reaches the workload behind a real Envoy, the reason is said, and those who may go on. Only a change of the Mesh lets
// plaintext in.
func TestNeverSilentlyPlaintext(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	cfg := config(t, m.cp)
	cfg.EnvoyBinary, cfg.EnvoyLogLevel, cfg.Concurrency, cfg.EnvoyDrainTime = realEnvoy(t), "error", 1, time.Second
	good := m.good()
	m.cp.set(func(s *xds.Snapshot) { *s = *good })
	m.running = start(t, cfg)
	m.awaitReady("200 READY")
	c := client(t, m.cp)
	wantHello(t, c, m.at)
	stop := m.strangers()
	refused := 0
	for _, l := range losses() {
		bad := l.send(m)
		m.send(bad, l.typ)
		if l.typ != "" {
			refused++
			m.says(l.why)
			if err := contains(m.log, l.why); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
		}
		if !l.gone {
			wantHello(t, c, m.at)
		}
		m.haveTried()
		if got := m.reached.Load(); got > 0 {
			t.Fatalf("%s: %d strangers reached the workload", l.name, got)
		}
		if !l.gone || l.typ != "" {
			m.send(m.good(), "")
			m.says("")
		}
	}
	t.Logf("%d ways to lose identity, of which %d were refused", len(losses()), refused)

	// A change that somebody has made is another matter; it also shows that the strangers do try.
	m.send(m.build(func(v *xds.View) { v.Mode, v.MeshChanged = policy.ModePermissive, 3000 }), "")
	eventually(t, func() error {
		if m.reached.Load() == 0 {
			return errors.New("no stranger has reached the workload")
		}
		return nil
	})
	wantHello(t, c, m.at)
	stop()
	m.view.MeshChanged = 4000
	m.send(m.good(), "")
	m.send(m.build(func(v *xds.View) { v.Mode, v.MeshChanged = policy.ModePermissive, 3000 }), xds.TypeListener)
}

// An agent that has just been started believes the control plane, unless that contradicts itself: a mesh without mTLS
// works, also with a control plane that sends no notes.
func TestFreshAgent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*xds.View)
		refused string
	}{
		"no note":         {func(v *xds.View) { v.MTLS, v.Notes = false, false }, ""},
		"off":             {func(v *xds.View) { v.MTLS, v.Mode = false, xds.ModeOff }, ""},
		"permissive":      {func(v *xds.View) { v.Mode = policy.ModePermissive }, ""},
		"strict, it says": {func(v *xds.View) { v.MTLS = false }, "the Mesh says STRICT"},
		"an unknown mode": {func(v *xds.View) { v.MTLS, v.Mode = false, "MUTUAL" }, "the Mesh says MUTUAL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startMesh(t)
			snapshot := m.build(c.change)
			m.cp.set(func(s *xds.Snapshot) { *s = *snapshot })
			m.running = start(t, config(t, m.cp))
			if c.refused == "" {
				m.envoy().takeAll()
				return
			}
			m.cp.await(xds.Nacked, xds.TypeCluster, 1)
			m.cp.await(xds.Nacked, xds.TypeListener, 1)
			m.says(c.refused)
			if got := m.metric("kuma_dp_plaintext_refused_total"); got != 2 {
				t.Errorf("%v refusals are counted, want 2", got)
			}
		})
	}
}

// metric is the value of a metric.
func (m *mesh) metric(name string) (value float64) {
	m.t.Helper()
	text, err := get(http.DefaultClient, m.url("/metrics"))
	if err != nil {
		m.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &value); err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return value
}
