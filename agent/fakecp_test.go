package agent_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"koguma/certs"
	"koguma/token"
	"koguma/xds"
)

// signingKey is made once: an RSA key takes a while.
var signingKey = sync.OnceValues(func() (token.SigningKey, error) {
	pem, err := token.NewKeyPEM()
	if err != nil {
		return token.SigningKey{}, err
	}
	key, err := token.ParseKey(pem)
	return token.SigningKey{KID: "1", Key: key}, err
})

// newToken is a token for mesh default, good for an hour unless the claims say otherwise.
func newToken(t testing.TB, c token.Claims) token.Raw {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if c.Mesh == "" {
		c.Mesh = "default"
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = now.Add(time.Hour)
	}
	c.IssuedAt, c.NotBefore = now.Add(-5*time.Second), now.Add(-5*time.Second)
	raw, err := token.Sign(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func newCA(t testing.TB, name string) *certs.CA {
	t.Helper()
	u, err := url.Parse("spiffe://" + name)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certs.NewCA(certs.CAOptions{CommonName: name, URI: u, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// fakeCP is a control plane with one proxy: it has whatever snapshot the test gives it, and signs certificates.
type fakeCP struct {
	t        testing.TB
	serverCA *certs.CA // of its own TLS
	meshCA   *certs.CA
	address  string // https://127.0.0.1:port

	mu       sync.Mutex
	server   *grpc.Server
	served   chan struct{}
	life     time.Duration
	services map[string]string // of the names of identity secrets
	base     *xds.Snapshot
	changed  chan struct{}
	refusal  error // of the next streams
	sign     func(name string, key crypto.PublicKey) *xds.Resource
	held     [][]*x509.Certificate
	issued   int
	keys     []crypto.PublicKey
	nodes    []*corev3.Node
	tokens   []string
	events   []xds.Event
	left     int

	refuse func(token string) error // of the next streams, by their token
	gate   chan struct{}            // the next streams are let in when it is closed
	end    func(error)              // ends the newest session
	open   int                      // how many sessions there are
}

func startCP(t testing.TB) *fakeCP {
	t.Helper()
	cp := &fakeCP{
		t: t, serverCA: newCA(t, "control-plane"), meshCA: newCA(t, "default"), life: time.Hour,
		services: map[string]string{xds.IdentitySecretName("default", "web", true): "web"}, changed: make(chan struct{}),
	}
	cp.sign = cp.issue
	cp.base = &xds.Snapshot{
		Secrets: xds.NewSet(caSecret(t, cp.meshCA)), Clusters: xds.NewSet(), Endpoints: xds.NewSet(), Listeners: xds.NewSet(),
	}
	cp.up()
	t.Cleanup(cp.down)
	return cp
}

// up starts serving, at the same address as before.
func (cp *fakeCP) up() {
	cp.t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		cp.t.Fatal(err)
	}
	chain, err := cp.serverCA.IssueServer(key.Public(), []string{"127.0.0.1", "localhost"}, time.Hour)
	if err != nil {
		cp.t.Fatal(err)
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	listen := "127.0.0.1:0"
	if cp.address != "" {
		listen = strings.TrimPrefix(cp.address, "https://")
	}
	var l net.Listener
	eventually(cp.t, func() (err error) { // somebody's connection may have the port as its own for a moment
		l, err = net.Listen("tcp", listen)
		return err
	})
	cp.address = "https://" + l.Addr().String()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
	})))
	xds.NewServer(cp).Register(server)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.server, cp.served = server, served
}

// down ends all streams at once, as a crash would.
func (cp *fakeCP) down() {
	cp.mu.Lock()
	server, served := cp.server, cp.served
	cp.mu.Unlock()
	server.Stop()
	<-served
}

// set replaces what the proxy should have; the secret with the CA is added.
func (cp *fakeCP) set(change func(s *xds.Snapshot)) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	next := *cp.base
	change(&next)
	cp.base = &next
	close(cp.changed)
	cp.changed = make(chan struct{})
}

// issue signs a certificate for the service whose secret has that name.
func (cp *fakeCP) issue(name string, key crypto.PublicKey) *xds.Resource {
	id, err := certs.WorkloadID("default", cp.services[name])
	if err != nil {
		cp.t.Error(err)
	}
	for _, chain := range cp.held {
		if certs.Check(chain, []*x509.Certificate{cp.meshCA.Certificate()}, id, time.Now()) == nil &&
			key.(interface{ Equal(crypto.PublicKey) bool }).Equal(chain[0].PublicKey) {
			return xds.TLSSecret(name, certs.EncodeChain(chain), nil)
		}
	}
	chain, err := cp.meshCA.Issue(context.Background(), certs.Request{Key: key, ID: id, Life: cp.life})
	if err != nil {
		cp.t.Error(err)
	}
	cp.issued++
	return xds.TLSSecret(name, certs.EncodeChain(chain), nil)
}

// saw is how many events there were that f says yes to.
func (cp *fakeCP) saw(f func(e xds.Event) bool) int {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	n := 0
	for _, e := range cp.events {
		if f(e) {
			n++
		}
	}
	return n
}

// await waits until an event of that kind and type has happened n times.
func (cp *fakeCP) await(kind xds.EventKind, typ string, n int) {
	cp.t.Helper()
	eventually(cp.t, func() error {
		if got := cp.saw(is(kind, typ)); got < n {
			return fmt.Errorf("event %d of %s: %d times, want %d", kind, typ, got, n)
		}
		return nil
	})
}

func is(kind xds.EventKind, typ string) func(xds.Event) bool {
	return func(e xds.Event) bool { return e.Kind == kind && e.Type == typ }
}

// read gives f the fields of cp.
func (cp *fakeCP) read(f func()) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	f()
}

// Accept implements [xds.Acceptor].
func (cp *fakeCP) Accept(ctx context.Context, node *corev3.Node, end func(error)) (xds.Session, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	shown := md.Get("authorization")
	cp.tokens = append(cp.tokens, shown...)
	cp.nodes = append(cp.nodes, node)
	if gate := cp.gate; gate != nil {
		cp.mu.Unlock()
		<-gate
		cp.mu.Lock()
	}
	if cp.refusal != nil {
		return nil, cp.refusal
	}
	if cp.refuse != nil {
		if err := cp.refuse(strings.Join(shown, " ")); err != nil {
			return nil, err
		}
	}
	if cp.end != nil {
		cp.end(status.Error(codes.AlreadyExists, "a newer stream has taken over"))
	}
	cp.end = end
	cp.open++
	return &cpSession{cp: cp, secrets: map[string]*xds.Resource{}}, nil
}

type cpSession struct {
	cp      *fakeCP
	csr     string
	secrets map[string]*xds.Resource
}

func (s *cpSession) Snapshot() (*xds.Snapshot, <-chan struct{}) {
	s.cp.mu.Lock()
	defer s.cp.mu.Unlock()
	var own []*xds.Resource
	for _, r := range s.secrets {
		own = append(own, r)
	}
	return s.cp.base.WithSecrets(own...), s.cp.changed
}

func (s *cpSession) Observe(e xds.Event) {
	s.cp.mu.Lock()
	defer s.cp.mu.Unlock()
	s.cp.events = append(s.cp.events, e)
	if e.Kind != xds.Subscribed || e.Type != xds.TypeSecret || e.Node == nil {
		return
	}
	fields := e.Node.GetMetadata().GetFields()
	csr := fields["dataplane.csr"].GetStringValue()
	key, err := certs.ParseCSR([]byte(csr))
	if err != nil {
		s.cp.t.Errorf("CSR: %v", err)
		return
	}
	if !slices.ContainsFunc(s.cp.keys, key.(interface{ Equal(crypto.PublicKey) bool }).Equal) {
		s.cp.keys = append(s.cp.keys, key)
	}
	for _, v := range fields["dataplane.svids"].GetListValue().GetValues() {
		chain, err := certs.ParseChain([]byte(v.GetStringValue()))
		if err != nil {
			s.cp.t.Errorf("svid: %v", err)
		}
		s.cp.held = append(s.cp.held, chain)
	}
	again := !sameKey(s.csr, csr)
	s.csr = csr
	for _, name := range e.Names {
		if s.cp.services[name] != "" && (again || s.secrets[name] == nil) {
			s.secrets[name] = s.cp.sign(name, key)
		}
	}
}

// sameKey compares the keys of two requests, whose signatures always differ.
func sameKey(a, b string) bool {
	x, errX := certs.ParseCSR([]byte(a))
	y, errY := certs.ParseCSR([]byte(b))
	return errX == nil && errY == nil && x.(interface{ Equal(crypto.PublicKey) bool }).Equal(y)
}

func (s *cpSession) Close(left bool) {
	s.cp.mu.Lock()
	defer s.cp.mu.Unlock()
	s.cp.open--
	if left {
		s.cp.left++
	}
}
