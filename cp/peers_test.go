package cp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"koguma/certs"
	"koguma/cp"
	"koguma/cp/cptest"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/policy"
	"koguma/store"
)

// planes is control planes in this process that share a store.
type planes struct {
	t     *testing.T
	store store.Store
	dir   string // the work directory of those that are started next
	share func(*cp.ControlPlane, store.Store)
}

func newPlanes(t *testing.T) *planes {
	f := &planes{t: t, store: store.NewMemory(), share: (*cp.ControlPlane).Share}
	t.Cleanup(func() { f.store.Close() })
	return f
}

// member is one of them.
type member struct {
	*plane
	id string
	// dead is whether its store takes nothing any more, so that it ends without a word.
	dead *atomic.Bool
}

// boot starts another control plane.
func (f *planes) boot() *member {
	f.t.Helper()
	return f.bootAtOnce(1)[0]
}

// bootAtOnce starts that many control planes at the same time.
func (f *planes) bootAtOnce(n int) []*member {
	f.t.Helper()
	var all []*member
	var await []func()
	for range n {
		m := &member{plane: &plane{t: f.t, log: new(cptest.Log)}, dead: new(atomic.Bool)}
		cfg := m.config(func(c *settings.Config) {
			c.InterCP.Server.Interface, c.InterCP.Server.Port = "127.0.0.1", 0
			c.General.WorkDir = f.dir
		})
		await = append(await, m.launch(cfg, func(c *cp.ControlPlane) {
			f.share(c, &sharedStore{f.store, m.dead})
			m.id = c.ID()
		}))
		all = append(all, m)
	}
	for _, up := range await {
		up()
	}
	return all
}

// sharedStore outlives the control planes that use it.
type sharedStore struct {
	store.Store
	dead *atomic.Bool
}

func (s *sharedStore) Close() error { return nil }

func (s *sharedStore) Write(ctx context.Context, ops ...store.Op) error {
	if s.dead.Load() {
		return errors.New("it is dead")
	}
	return s.Store.Write(ctx, ops...)
}

// crash stops it without a goodbye.
func (m *member) crash() {
	m.dead.Store(true)
	m.end()
}

func (m *member) heard() int   { return m.metric(`koguma_control_planes{state="heard"}`) }
func (m *member) unheard() int { return m.metric(`koguma_control_planes{state="unheard"}`) }

// hears waits until it hears so many others, and all that there are.
func (m *member) hears(n int) {
	m.t.Helper()
	m.eventually("the others to be heard", func() bool { return m.heard() == n && m.unheard() == 0 })
}

// leases are the control planes that the store knows.
func (f *planes) leases() []policy.Resource {
	f.t.Helper()
	all, err := f.store.List(f.t.Context(), policy.TypeControlPlane, "")
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// lease puts in the store that there is a control plane at an address.
func (f *planes) lease(id, address string) {
	f.t.Helper()
	c := &policy.ControlPlane{Meta: policy.Meta{Type: policy.TypeControlPlane, Name: id}, Address: address, Started: time.Now().UTC()}
	if err := c.Validate(); err != nil {
		f.t.Fatal(err)
	}
	if _, err := store.Put(f.t.Context(), f.store, c); err != nil {
		f.t.Fatal(err)
	}
}

// Control planes of one store find each other, and one that ends in good order is forgotten at once.
func TestControlPlanesKnowEachOther(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.hears(1)
	b.hears(1)
	c := f.boot()
	for _, m := range []*member{a, b, c} {
		m.hears(2)
	}
	c.end()
	a.hears(1)
	b.hears(1)
	if n := len(f.leases()); n != 2 {
		t.Errorf("there are %d leases, want 2", n)
	}
	for _, bad := range []string{"does not answer", "has not renewed"} {
		if strings.Contains(a.log.String(), bad) {
			t.Errorf("the log says that somebody %s:\n%s", bad, a.log)
		}
	}
}

// A control plane that crashes counts as one that may have proxies until its lease lapses, and its lease is removed.
func TestControlPlaneCrashes(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.hears(1)
	b.crash()
	a.eventually("b to be missed", func() bool { return a.unheard() == 1 && a.heard() == 0 })
	a.hears(0)
	if !strings.Contains(a.log.String(), "it has not renewed its lease") {
		t.Errorf("the log does not say what became of it:\n%s", a.log)
	}
	a.eventually("the lease to be removed", func() bool { return len(f.leases()) == 1 })
}

// A control plane that accepts and says nothing does not count as one that is heard.
func TestControlPlaneStalls(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := f.boot()
	f.lease("stalled", l.Addr().String())
	a.eventually("it to be missed", func() bool { return a.unheard() == 1 })
	for a.unheard() == 1 && !strings.Contains(a.log.String(), "does not answer") {
		f.renew("stalled")
		time.Sleep(20 * time.Millisecond)
	}
	if log := a.log.String(); !strings.Contains(log, "does not answer") || !strings.Contains(log, "gives no sign of life") {
		t.Errorf("the log does not say that it does not answer, and why:\n%s", log)
	}
	a.hears(0) // nobody renews it any more
}

// renew renews a lease.
func (f *planes) renew(id string) {
	f.t.Helper()
	ctx := context.WithoutCancel(f.t.Context()) // it may be called until the last cleanup
	r, err := f.store.Get(ctx, policy.Key{Type: policy.TypeControlPlane, Name: id})
	if err != nil {
		f.t.Fatal(err)
	}
	c := *r.(*policy.ControlPlane)
	c.Beat++
	if _, err := store.Put(ctx, f.store, &c); err != nil {
		f.t.Fatal(err)
	}
}

// A control plane at the address of another is not taken for it.
func TestControlPlaneInTheWrongPlace(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.hears(1)
	f.lease("other", b.addrs.InterCP.String())
	a.eventually("it to be missed", func() bool { return a.unheard() == 1 })
	for a.unheard() == 1 && !strings.Contains(a.log.String(), "answers in its place") {
		f.renew("other")
		time.Sleep(20 * time.Millisecond)
	}
	if !strings.Contains(a.log.String(), "control plane "+b.id+" answers in its place") {
		t.Errorf("the log does not say who answers:\n%s", a.log)
	}
	if a.heard() != 1 {
		t.Errorf("%d control planes are heard, want 1", a.heard())
	}
}

// While the store takes nothing no lease lapses: nobody could renew one.
func TestLeasesStayWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.hears(1)
	a.dead.Store(true)
	b.dead.Store(true)
	time.Sleep(1200 * time.Millisecond) // longer than a lease lasts
	if a.heard() != 1 || b.heard() != 1 {
		t.Errorf("%d and %d are heard, want 1 each", a.heard(), b.heard())
	}
	a.dead.Store(false)
	b.dead.Store(false)
	b.eventually("the leases to be renewed", func() bool {
		return strings.Count(a.log.String()+b.log.String(), "told again that this one is there") == 2
	})
	a.hears(1)
	b.hears(1)
	if strings.Contains(a.log.String()+b.log.String(), "has not renewed its lease") {
		t.Errorf("a lease lapsed:\n%s%s", a.log, b.log)
	}
}

// The port of the control planes is for control planes: neither a proxy nor a server has a certificate that opens it.
func TestInterCPCertificates(t *testing.T) {
	t.Parallel()
	f := newPlanes(t)
	a := f.boot()
	ca, err := registry.LoadCPAuthority(t.Context(), f.store)
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.NewCA(certs.CAOptions{CommonName: "kuma-cp", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	server, err := cp.NewServerCert(ca, "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	shows := func(get func() (*tls.Certificate, error)) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return get() }}
	}
	for name, c := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"a control plane":                  {cp.PeerTLS("me", ca), true},
		"a control plane of another store": {cp.PeerTLS("me", other), false},
		"the certificate of the DP server": {shows(server.Get), false},
		"a proxy":                          {shows(func() (*tls.Certificate, error) { return workload(t, ca) }), false},
		"nothing":                          {&tls.Config{InsecureSkipVerify: true}, false},
	} {
		status, err := askRoll(t, a.addrs.InterCP.String(), c.config)
		if c.ok != (err == nil && status == http.StatusOK) {
			t.Errorf("%s: got %d, %v", name, status, err)
		}
	}
}

// workload is a certificate of a proxy, by the CA of the control planes at that.
func workload(t *testing.T, ca *certs.CA) (*tls.Certificate, error) {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	id, err := certs.WorkloadID("koguma-cp", "web")
	if err != nil {
		return nil, err
	}
	chain, err := ca.Issue(t.Context(), certs.Request{Key: key.Public(), ID: id, Life: time.Hour})
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}, nil
}

// askRoll begins to listen to what a control plane tells the others.
func askRoll(t *testing.T, address string, config *tls.Config) (status int, err error) {
	t.Helper()
	status, _, err = askPeer(t, address, config, "GET", "/roll", "")
	return status, err
}

// askAccounts asks a control plane as another does.
func askAccounts(t *testing.T, m *member, config *tls.Config, question string) string {
	t.Helper()
	status, text, err := askPeer(t, m.addrs.InterCP.String(), config, "POST", "/accounts", question)
	if status != http.StatusOK || err != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	return text
}

// askPeer is the answer of a control plane to another, as far as it has come at once.
func askPeer(t *testing.T, address string, config *tls.Config, method, path, body string) (status int, text string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	conn, err := transport.NewClientConn(ctx, "https", address)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	r, err := http.NewRequestWithContext(ctx, method, "https://"+address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := conn.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	if method == http.MethodGet { // it has no end
		return res.StatusCode, "", nil
	}
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), err
}

// When a control plane has ended, nothing of what it had with the others is left. No other test runs beside this one.
func TestNothingLeftOfPeers(t *testing.T) {
	f := newPlanes(t)
	a, b := f.boot(), f.boot()
	a.hears(1)
	b.hears(1)
	f.lease("nobody", "127.0.0.1:1")
	a.eventually("one to be missed", func() bool { return a.unheard() == 1 })
	a.end()
	b.end()
	left := func() string {
		all := make([]byte, 4<<20)
		for _, stack := range strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n") {
			if strings.Contains(stack, "cp.(*peers)") || strings.Contains(stack, "cp.other") || strings.Contains(stack, "http2ClientConn") {
				return stack
			}
		}
		return ""
	}
	for end := time.Now().Add(patience); left() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this is left:\n%s", left())
		}
	}
}
