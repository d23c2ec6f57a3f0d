package cp_test

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"koguma/certs"
	"koguma/cp"
	"koguma/policy"
	"koguma/xds"
)

// farCA is a CA that answers when it likes to.
type farCA struct {
	*certs.CA
	mu      sync.Mutex
	takes   time.Duration // for an answer
	fails   error
	refuses string        // an identity
	before  time.Duration // how long ago its certificates began
	asked   []time.Time
	given   []string // serial numbers
}

func newFarCA(t *testing.T) *farCA {
	t.Helper()
	ca, err := certs.NewCA(certs.CAOptions{CommonName: "far", Life: 1000 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return &farCA{CA: ca}
}

func (f *farCA) Roots() []*x509.Certificate { return []*x509.Certificate{f.Certificate()} }

func (f *farCA) Remote() string { return "far away" }

func (f *farCA) set(takes time.Duration, fails error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes, f.fails, f.asked = takes, fails, nil
}

func (f *farCA) Issue(ctx context.Context, r certs.Request) ([]*x509.Certificate, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	takes, fails := f.takes, f.fails
	if len(f.asked) > 10_000 {
		fails = errors.New("asked without end")
	}
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if fails != nil {
		return nil, fails
	}
	if r.ID.String() == f.refuses {
		return nil, errors.New("not that one")
	}
	chain, err := f.CA.Issue(ctx, r)
	if err == nil {
		leaf := *chain[0]
		leaf.NotBefore = leaf.NotBefore.Add(-f.before)
		chain[0] = &leaf
		f.mu.Lock()
		f.given = append(f.given, chain[0].SerialNumber.Text(16))
		f.mu.Unlock()
	}
	return chain, err
}

// requests is how often the CA was asked since it was set, and what it has given in all.
func (f *farCA) requests() (asked []time.Time, given []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked), slices.Clone(f.given)
}

// far is a session of the proxy web-1 in a bubble, with a CA that is far away.
type far struct {
	*world
	xds.Session
	ca      *farCA
	backend *policy.Backend
}

func inFarBubble(t *testing.T, test func(t *testing.T, f *far)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		f := &far{world: w, ca: newFarCA(t), backend: lasting(10 * time.Second)}
		f.Session = w.session(node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		defer f.Close(true)
		f.request("web")
		test(t, f)
	})
}

// lasting is a backend whose CA may take that long, with certificates for a year.
func lasting(timeout time.Duration) *policy.Backend {
	b := &policy.Backend{Name: "far", DPCert: &policy.DPCert{RequestTimeout: policy.Duration(timeout)}}
	b.DPCert.Rotation.Expiration = policy.Duration(1000 * time.Hour)
	return b
}

// request asks for the certificates with another key.
func (f *far) request(services ...string) {
	f.t.Helper()
	var names []string
	for i, s := range services {
		names = append(names, xds.IdentitySecretName("default", s, i == 0))
	}
	f.Observe(xds.Event{Kind: xds.Subscribed, Type: xds.TypeSecret, Names: names,
		Node: node(f.t, "default.web-1", csrOf(f.t, newSigner(f.t)))})
}

// offer tells the session what is to be so now.
func (f *far) offer(ca *farCA, outbounds ...string) {
	v := &xds.View{Mesh: "default", Service: "web", MTLS: true, Roots: string(ca.CertPEM())}
	for _, o := range outbounds {
		v.Outbounds = append(v.Outbounds, xds.Outbound{Service: o, Endpoints: &xds.Endpoints{Cluster: o}})
	}
	cp.Offer(f.Session, v, ca, f.backend, "web", "api")
}

// identity is the body of the certificate's secret in the snapshot of now, "" if there is none.
func (f *far) identity() string {
	f.t.Helper()
	snapshot, _ := f.Snapshot()
	if snapshot == nil {
		f.t.Fatal("no snapshot")
	}
	if r := snapshot.Of(xds.TypeSecret).Get(identity); r != nil {
		return string(r.Body)
	}
	return ""
}

// follow looks at every snapshot, as a stream does, until so much time has passed.
func (f *far) follow(d time.Duration) {
	end := time.After(d)
	for {
		_, changed := f.Snapshot()
		select {
		case <-changed:
		case <-end:
			return
		}
	}
}

func (f *far) fault() string {
	return f.core.Insight(policy.Key{Type: policy.TypeDataplane, Mesh: "default", Name: "web-1"}).Subscriptions[0].Status.LastRejection
}

// A CA that is quick gives the certificate with everything else; of one that is not, the rest does not wait for it.
func TestStalledIssuerDelaysNothing(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.offer(f.ca)
		if f.identity() == "" {
			t.Fatal("no certificate at once")
		}
		first := f.identity()
		f.ca.set(time.Hour, nil)
		f.backend = lasting(5 * time.Second)
		f.request("web")
		for i, outbound := range []string{"api", "db", "cache"} {
			begin := time.Now()
			f.offer(f.ca, outbound)
			s, _ := f.Snapshot()
			if took := time.Since(begin); s.Clusters.Get(outbound) == nil || i == 0 && took > cp.Briefly || i > 0 && took > 0 {
				t.Errorf("%s: after %v", outbound, took)
			}
			if f.identity() != first {
				t.Error("the certificate that there was has gone")
			}
		}
		if asked, _ := f.ca.requests(); len(asked) != 1 {
			t.Errorf("asked %d times at once", len(asked))
		}
		f.follow(5*time.Second + cp.Briefly)
		if got := f.fault(); !strings.Contains(got, "did not answer within 5s") {
			t.Errorf("the reason shown is %q", got)
		}
		if f.identity() != first {
			t.Error("the certificate that there was has gone")
		}
		f.ca.set(time.Second, nil)
		f.follow(10 * time.Second)
		if f.identity() == first || f.fault() != "" {
			t.Errorf("no new one when the CA is back: %s", f.fault())
		}
	})
}

// A CA that fails is asked less and less often, once a minute in the end, and at once where there is another. What there
// was stays.
func TestFailingIssuerIsSparedRetries(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.offer(f.ca)
		first := f.identity()
		f.ca.set(0, errors.New("out of paper"))
		f.request("web")
		f.follow(time.Hour)
		asked, _ := f.ca.requests()
		if n := len(asked); n < 40 || n > 130 {
			t.Errorf("asked %d times in an hour", n)
		}
		for i, at := range asked[1:] {
			pause := at.Sub(asked[i])
			least, most := 500*time.Millisecond<<min(i, 20), 1500*time.Millisecond<<min(i, 20)
			if pause < min(least, 30*time.Second) || pause > min(most, 90*time.Second) {
				t.Errorf("pause %d is %v", i+1, pause)
			}
		}
		if f.identity() != first || !strings.Contains(f.fault(), `certificate of service "web": out of paper`) {
			t.Errorf("what there was has gone, or the reason is %q", f.fault())
		}
		f.offer(newFarCA(t))
		if f.identity() == first || f.fault() != "" {
			t.Errorf("another CA was not asked at once: %s", f.fault())
		}
	})
}

// The shorter certificates live, the more often a CA that fails is asked, so that one that is due does not end meanwhile.
func TestRetriesFitTheLife(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.backend.DPCert.Rotation.Expiration = policy.Duration(time.Minute)
		f.offer(f.ca)
		f.ca.set(0, errors.New("out of paper"))
		f.request("web")
		f.follow(10 * time.Minute)
		asked, _ := f.ca.requests()
		for i, at := range asked[1:] {
			if pause := at.Sub(asked[i]); pause > 6*time.Second {
				t.Errorf("pause %d is %v", i+1, pause)
			}
		}
	})
}

// What comes for a key that has been replaced, or of a CA that has been, is thrown away.
func TestLateCertificateIsThrownAway(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.ca.set(time.Minute, nil)
		f.backend = lasting(time.Hour)
		f.offer(f.ca)
		f.identity()
		other := newFarCA(t)
		f.offer(other)
		f.follow(time.Second)
		if asked, _ := other.requests(); len(asked) != 1 || f.identity() == "" || f.fault() != "" {
			t.Errorf("the other CA was asked %d times: %s", len(asked), f.fault())
		}
		f.offer(f.ca) // which was asked for it before, and then no longer
		f.follow(time.Second)
		f.request("web")
		f.follow(time.Second)
		f.offer(other)
		f.identity() // gives up what f.ca was asked for
		f.offer(f.ca)
		f.follow(2 * time.Minute)
		asked, given := f.ca.requests()
		if len(asked) != 4 || len(given) != 1 || f.fault() != "" || strings.Contains(f.log.String(), "canceled") {
			t.Errorf("asked %d times, %d certificates: %s", len(asked), len(given), f.log)
		}
	})
}

// A proxy with several services gets what there is of them.
func TestIssuerThatFailsForOne(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.ca.refuses = "spiffe://default/web"
		f.request("web", "api")
		f.offer(f.ca)
		s, _ := f.Snapshot()
		if s.Of(xds.TypeSecret).Get(identity+":api") == nil || f.identity() != "" || !strings.Contains(f.fault(), `"web"`) {
			t.Errorf("web has one, or api has none: %s", f.fault())
		}
	})
}

// A proxy without a key of its own gets its next certificate in good time, whatever a CA says when the last one began.
func TestRenewalOfBackdatedCertificate(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.Session = f.session(node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		defer f.Close(true)
		f.Observe(xds.Event{Kind: xds.Subscribed, Type: xds.TypeSecret, Names: []string{identity}, Node: node(t, "default.web-1", nil)})
		f.ca.before = 500 * time.Hour
		f.backend.DPCert.Rotation.Expiration = policy.Duration(100 * time.Hour)
		f.offer(f.ca)
		f.follow(150 * time.Hour)
		if asked, _ := f.ca.requests(); len(asked) != 3 { // after 0, 60 to 73, 120 to 147 hours
			t.Errorf("asked %d times", len(asked))
		}
	})
}

// A session that ends takes along what was being made for it.
func TestIssuingEndsWithTheSession(t *testing.T) {
	t.Parallel()
	inFarBubble(t, func(t *testing.T, f *far) {
		f.ca.set(24*time.Hour, nil)
		f.offer(f.ca)
		f.identity()
		begin := time.Now()
		f.Close(false) // and once more when the bubble ends, where nothing may be left
		synctest.Wait()
		if _, given := f.ca.requests(); len(given) != 0 || time.Since(begin) > 0 {
			t.Errorf("given: %v, after %v", given, time.Since(begin))
		}
	})
}
