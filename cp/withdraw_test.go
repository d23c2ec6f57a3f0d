package cp_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc/codes"

	"koguma/certs"
	"koguma/cp/cptest"
	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/token"
	"koguma/xds"
)

// listed is the serial numbers on the revocation list that comes with the roots, which must have signed it.
func listed(t *testing.T, u update) []string {
	t.Helper()
	context := u.resources[trust].(*tlsv3.Secret).GetValidationContext()
	block, _ := pem.Decode(context.GetCrl().GetInlineBytes())
	if block == nil {
		return nil
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := certs.ParseChain(context.GetTrustedCa().GetInlineBytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(roots[0]); err != nil {
		t.Error(err)
	}
	var serials []string
	for _, e := range list.RevokedCertificateEntries {
		serials = append(serials, e.SerialNumber.Text(16))
	}
	slices.Sort(serials)
	return serials
}

func revocations(ids string) string {
	return cptest.SecretJSON(policy.RevocationsName("default"), []byte(ids))
}

// The certificates of a revoked token are on the mesh's list, whoever is connected; a certificate that a good token has
// shown since is not. What is on the list is not taken for good when its proxy is back, and a list that has become
// shorter takes nothing off.
func TestRevokedCertificatesAreWithdrawn(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.mtls("1h")
	by := func(jti string, data map[string]any) (*stream, *x509.Certificate, string) {
		t.Helper()
		s := p.joinBy(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: jti}), node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		s.askAs(node(t, "default.web-1", data), xds.TypeSecret, identity, trust)
		u := s.expect(xds.TypeSecret)
		c := u.secret(t, identity)
		return s, chain(t, c)[0], held(c)
	}
	watcher := p.join("watch-1", brought(dataplane("watch-1", "watch")))
	watcher.ask(xds.TypeSecret, trust)
	if got := listed(t, watcher.expect(xds.TypeSecret)); got != nil {
		t.Errorf("on the list before anything was revoked: %v", got)
	}
	key := newSigner(t)
	s, mine, have := by("old", csrOf(t, key))
	s.leave()
	s, thiefs, loot := by("old", csrOf(t, newSigner(t)))
	s.leave()
	s, same, _ := by("new", csrOf(t, key, have))
	if !same.Equal(mine) {
		t.Fatal("the certificate was not kept")
	}

	list := "/meshes/default/secrets/" + policy.RevocationsName("default")
	begin := time.Now()
	p.put(list, revocations("old"))
	if got := listed(t, watcher.expect(xds.TypeSecret)); !slices.Equal(got, serials(thiefs)) {
		t.Errorf("on the list: %v, want %v", got, serials(thiefs))
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	watcher.expect(xds.TypeListener) // its default filter chain is renewed

	p.put(list, revocations("old,new"))
	s.ended(codes.Unauthenticated, "revoked")
	if got := listed(t, watcher.expect(xds.TypeSecret)); !slices.Equal(got, serials(thiefs, mine)) {
		t.Errorf("on the list: %v, want %v", got, serials(thiefs, mine))
	}
	watcher.expect(xds.TypeListener)

	p.delete(list)
	p.eventually("the end of the list to be heard of", func() bool {
		s := p.open(p.conn, "sotw", sign(t, token.Claims{Mesh: "default", ID: "old"}))
		defer s.cancel()
		s.askAs(node(t, "default.web-1", brought(dataplane("web-1", "web"))), xds.TypeCluster)
		_, err := s.ads.recv()
		return err == nil
	})
	_, again, _ := by("old", csrOf(t, key, have, loot))
	if again.Equal(mine) || again.Equal(thiefs) {
		t.Error("a certificate that was withdrawn was taken for good")
	}
	watcher = p.join("watch-2", brought(dataplane("watch-2", "watch")))
	watcher.ask(xds.TypeSecret, trust)
	if got := listed(t, watcher.expect(xds.TypeSecret)); !slices.Equal(got, serials(thiefs, mine)) {
		t.Errorf("on the list: %v, want %v", got, serials(thiefs, mine))
	}
}

func serials(of ...*x509.Certificate) (list []string) {
	for _, c := range of {
		list = append(list, c.SerialNumber.Text(16))
	}
	slices.Sort(list)
	return list
}

// A CA that may not sign lists keeps nothing else from happening, and the control plane says so.
func TestWithdrawnWithoutList(t *testing.T) {
	t.Parallel()
	cert, key := caWithoutLists(t)
	inBubble(t, func(t *testing.T, w *world) {
		m := cptest.Mesh("default")
		m.MTLS = &policy.MTLS{EnabledBackend: "ca-1", Backends: []policy.Backend{{Name: "ca-1", Type: policy.BackendBuiltin}}}
		secret := func(name string, data []byte) *policy.Secret {
			return &policy.Secret{Meta: policy.Meta{Type: policy.TypeSecret, Mesh: "default", Name: name}, Data: data}
		}
		w.put(secret(policy.CACertName("default", "ca-1"), cert), secret(policy.CAKeyName("default", "ca-1"), key), m,
			secret(policy.RevocationsName("default"), []byte("bad")))
		defer w.run()()
		s := w.session(node(t, "default.web-1", brought(dataplane("web-1", "web"))))
		defer s.Close(true)
		w.put(&policy.Issuance{
			Meta: policy.Meta{Type: policy.TypeIssuance, Mesh: "default", Name: "i"},
			Certificates: []policy.IssuedCertificate{
				{Serial: "7", Service: "web", TokenID: "bad", NotAfter: time.Now().Add(time.Hour)},
			},
		})
		synctest.Wait()
		snapshot, _ := s.Snapshot()
		if secret := string(snapshot.Secrets.Get(trust).Body); strings.Contains(secret, "X509 CRL") {
			t.Error("there is a list")
		}
		if l := string(snapshot.Listeners.Get("inbound:" + address("web-1") + ":8080").Body); !strings.Contains(l, "default#1") {
			t.Error("the filter chains are as they were")
		}
		if log := w.log.String(); strings.Count(log, "there is no revocation list") != 1 || !strings.Contains(log, "cRLSign") {
			t.Errorf("it says: %s", log)
		}
	})
}

// caWithoutLists is a CA in PEM that may sign certificates only.
func caWithoutLists(t *testing.T) (cert, key []byte) {
	t.Helper()
	signer := newSigner(t)
	begin := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // before a bubble begins
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: begin.AddDate(100, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = certs.EncodeKey(signer); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

// What has ended goes.
func TestLedgerForgets(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		defer w.run()()
		page := func(name string, life time.Duration) *policy.Issuance {
			return &policy.Issuance{
				Meta:         policy.Meta{Type: policy.TypeIssuance, Mesh: "default", Name: name},
				Certificates: []policy.IssuedCertificate{{Serial: "1", Service: "web", TokenID: "t", NotAfter: time.Now().Add(life)}},
			}
		}
		w.put(page("short", time.Hour), page("long", 3*time.Hour))
		time.Sleep(time.Hour + 2*ledger.RestSweep)
		pages, err := w.store.List(t.Context(), policy.TypeIssuance, "")
		if err != nil || len(pages) != 1 || pages[0].Metadata().Name != "long" {
			t.Errorf("left: %v (%v)", pages, err)
		}
		time.Sleep(2*time.Hour + ledger.RestSweep)
		if pages, err = w.store.List(t.Context(), policy.TypeIssuance, ""); err != nil || len(pages) != 0 {
			t.Errorf("left: %v (%v)", pages, err)
		}
	})
}
