package agent_test

import (
	"crypto"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"koguma/agent"
	"koguma/certs"
	"koguma/policy"
	"koguma/xds"
)

// whoami is what the agent answers at /identity.
func (r *running) whoami() policy.ProxyIdentity {
	r.t.Helper()
	resp, err := http.Get(r.url("/identity"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var id policy.ProxyIdentity
	if err := policy.Decode(body, &id); err != nil {
		r.t.Fatalf("%v\n%s", err, body)
	}
	if strings.Contains(string(body), "PRIVATE") || strings.Contains(string(body), "eyJ") {
		r.t.Errorf("a key or a token is in the answer:\n%s", body)
	}
	return id
}

// What is shown as in use is what Envoy has taken; what it has not, is pending.
func TestIdentityShowsWhatEnvoyTook(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 3 * time.Second
	cfg := config(t, cp)
	r := start(t, cfg)
	e := r.envoy()
	e.takeAll(identityName, xds.CASecretName("default"))
	first := keyPair(t, e.secret(identityName))
	cp.await(xds.Acked, xds.TypeSecret, 1)
	id := r.whoami()
	if len(id.Certificates) != 1 || len(id.Roots) != 1 {
		t.Fatalf("%d certificates, %d roots", len(id.Certificates), len(id.Roots))
	}
	root := certs.Fingerprint(cp.meshCA.Certificate())
	got := id.Certificates[0]
	want := policy.IdentityCertificate{
		Service: "web", SPIFFEID: "spiffe://default/web", Serial: certs.Serial(first),
		Issuer:    policy.Issuer{Subject: "CN=default,O=Koguma", Fingerprint: root},
		NotBefore: first.NotBefore.UTC(), NotAfter: first.NotAfter.UTC(), KeyOrigin: policy.KeyOfAgent, Acked: true,
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("certificate %+v\nwant %+v", got, want)
	}
	if r := id.Roots[0]; !r.Acked || r.Fingerprint != root || !r.NotAfter.Equal(cp.meshCA.Certificate().NotAfter) {
		t.Errorf("root %+v", r)
	}
	if !id.ControlPlane.Connected || "https://"+id.ControlPlane.Address != cp.address || id.ControlPlane.Since.IsZero() {
		t.Errorf("control plane %+v", id.ControlPlane)
	}
	if id.Token == nil || id.Token.KeyID != "1" || id.Token.ExpiresAt.IsZero() {
		t.Errorf("token %+v", id.Token)
	}
	if id.Renewal.Result != policy.RenewalOK || !id.Renewal.Next.After(id.Renewal.Last) || id.Renewal.Overdue {
		t.Errorf("renewal %+v", id.Renewal)
	}
	if id.LastError != nil {
		t.Errorf("an error %+v", id.LastError)
	}

	next := e.next(xds.TypeSecret) // that Envoy takes its time with
	id = r.whoami()
	if len(id.Certificates) != 2 || !id.Certificates[0].Acked || id.Certificates[1].Acked || id.Certificates[0].Serial != certs.Serial(first) {
		t.Errorf("with one on its way: %+v", id.Certificates)
	}
	e.nack(next, "no, \x1b[31m")
	eventually(t, func() error {
		if last := r.whoami().LastError; last == nil || last.Reason != "envoy refused its Secret: no,  [31m" {
			return fmt.Errorf("last error %+v", last)
		}
		return nil
	})
	cp.down()
	eventually(t, func() error {
		if l := r.whoami().ControlPlane; l.Connected || l.Until.IsZero() || l.Since.IsZero() {
			return fmt.Errorf("without a control plane: %+v", l)
		}
		return nil
	})
}

// Without mTLS nobody is anybody, and that is no error.
func TestIdentityWithoutMTLS(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.services = nil
	r := start(t, config(t, cp))
	r.envoy().takeAll()
	cp.await(xds.Acked, xds.TypeListener, 1)
	if id := r.whoami(); len(id.Certificates) != 0 || len(id.Roots) != 0 || !id.ControlPlane.Connected || id.Renewal.Overdue {
		t.Errorf("%+v", id)
	}
}

// A renewal that just does not happen is an alarm long before the end, although nothing has failed.
func TestSkippedRenewalIsAnAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "default")
		a, err := agent.New(agent.Config{Name: "web-1"})
		if err != nil {
			t.Fatal(err)
		}
		renew := func() {
			t.Helper()
			csr, err := a.Request()
			if err != nil {
				t.Fatal(err)
			}
			key, err := certs.ParseCSR(csr)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Give(message(t, caSecret(t, ca)), message(t, issuedBy(t, ca, key, 45*time.Minute))); err != nil {
				t.Fatal(err)
			}
		}
		check := func(want float64) {
			t.Helper()
			if got := gauge(t, a, "kuma_dp_renewal_overdue"); got != want {
				t.Errorf("overdue is %v, want %v", got, want)
			}
			if got := len(a.Remarks()); got != int(want) {
				t.Errorf("%d remarks, want %v: %q", got, want, a.Remarks())
			}
		}
		renew()
		check(0)
		// The CA lives an hour, and the certificate 45 minutes: it is due after 27 to 33, and late 4.5 after that.
		time.Sleep(31 * time.Minute)
		check(0)
		time.Sleep(7 * time.Minute)
		check(1)
		if line := a.Remarks()[0]; !strings.Contains(line, "should have been renewed at 2000-01-01T00:") {
			t.Errorf("the remark is %q", line)
		}
		renew()
		check(0)
		if got, want := gauge(t, a, "kuma_dp_root_not_after_seconds"), float64(ca.Certificate().NotAfter.Unix()); got != want {
			t.Errorf("the root ends at %v, want %v", got, want)
		}
	})
}

// issuedBy is the secret of the service web with a certificate of that life.
func issuedBy(t *testing.T, ca *certs.CA, key crypto.PublicKey, life time.Duration) *xds.Resource {
	t.Helper()
	id, err := certs.WorkloadID("default", "web")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.Issue(t.Context(), certs.Request{Key: key, ID: id, Life: life})
	if err != nil {
		t.Fatal(err)
	}
	return xds.TLSSecret(identityName, certs.EncodeChain(chain), nil)
}

func message(t *testing.T, r *xds.Resource) *tlsv3.Secret {
	t.Helper()
	s := new(tlsv3.Secret)
	if err := proto.Unmarshal(r.Body, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// gauge is the value of a metric, that of the first labels.
func gauge(t *testing.T, a *agent.Agent, name string) float64 {
	t.Helper()
	families, err := a.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A control plane that does not answer a request for a renewal is a failed renewal, and a remark; ready the proxy stays.
func TestUnansweredRenewal(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 4 * time.Second
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	first := e.secret(identityName)
	same := resourceOf(t, identityName, first)
	cp.read(func() {
		cp.sign = func(string, crypto.PublicKey) *xds.Resource { return withoutKey(t, same) }
	})
	eventually(t, func() error {
		if got, err := get(http.DefaultClient, r.url("/ready")); err != nil || !strings.Contains(got, "should have been renewed") {
			return fmt.Errorf("/ready %q %v", got, err)
		}
		return nil
	})
	body, err := get(http.DefaultClient, r.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, "\nkuma_dp_renewal_overdue 1") || !strings.Contains(body, `kuma_dp_renewals_total{result="ok"} 1`) {
		t.Errorf("metrics:\n%s", body)
	}
	id := r.whoami()
	if !id.Renewal.Overdue {
		t.Errorf("renewal %+v", id.Renewal)
	}
	cp.down()
	cp.read(func() { cp.sign = cp.issue })
	cp.up()
	eventually(t, func() error {
		if id := r.whoami(); id.Renewal.Result != policy.RenewalOK || id.Renewal.Overdue {
			return fmt.Errorf("renewal %+v", id.Renewal)
		}
		return nil
	})
}

// withoutKey is a secret as the control plane sends it.
func withoutKey(t *testing.T, r *xds.Resource) *xds.Resource {
	s := message(t, r)
	return xds.TLSSecret(s.GetName(), s.GetTlsCertificate().GetCertificateChain().GetInlineBytes(), nil)
}
