package testenv_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"

	"koguma/certs/certstest"
	"koguma/testenv"
)

// verify says whether others, too, take the chain for that identity.
func verify(t *testing.T, chain, roots []*x509.Certificate, want string) error {
	t.Helper()
	return certstest.Judge(t, chain, roots, nil, want)
}

// What a proxy presents in a handshake is an X.509-SVID to others as well, and made of what it should be.
func TestPresentedIdentity(t *testing.T) {
	t.Parallel()
	m := testenv.New(t, testenv.Options{MTLS: true})
	backend := m.Start(testenv.Proxy{Serves: []string{"backend"}})[0]
	m.TurnOnMTLS("other")
	chain, err := testenv.ServerChain(t.Context(), backend.In("backend"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, chain, m.Roots("default"), "spiffe://default/backend"); err != nil {
		t.Error(err)
	}
	if verify(t, chain, m.Roots("other"), "spiffe://default/backend") == nil {
		t.Error("it verifies under the CA of another mesh")
	}
	leaf := chain[0]
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is a %T, want one of P-256", leaf.PublicKey)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://default/backend" {
		t.Errorf("the URIs are %v, want the one", leaf.URIs)
	}
	if leaf.Subject.CommonName != "" || leaf.IsCA {
		t.Errorf("the subject is %v, the basic constraint CA:%v", leaf.Subject, leaf.IsCA)
	}
	if bits := leaf.SerialNumber.BitLen(); bits < 64 {
		t.Errorf("the serial number has %d bits", bits)
	}
	now := time.Now()
	if back := now.Sub(leaf.NotBefore); back < time.Minute || back > 2*time.Minute {
		t.Errorf("valid since %v ago, want a minute and what the test took", back)
	}
	if left := leaf.NotAfter.Sub(now); left > 24*time.Hour || left < 24*time.Hour-time.Minute {
		t.Errorf("valid for %v more, want a day", left)
	}
}

// Certificates that live for ten seconds are renewed again and again, and no request notices.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	_, backend, web := pair(t, testenv.Options{LeafLife: 10 * time.Second})
	load := testenv.StartLoad(t.Context(), web.Out("backend"), 100)
	seen := map[string]map[string]bool{"backend": {}, "web": {}}
	end := time.After(25 * time.Second)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-end:
			done = true
		}
		for service, address := range map[string]string{"backend": backend.In("backend"), "web": web.In("web")} {
			chain, err := testenv.ServerChain(t.Context(), address, "")
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(chain[0].NotAfter); left < 0 || left > 10*time.Second {
				t.Errorf("%s presents a certificate that is good for %v", service, left)
			}
			seen[service][chain[0].SerialNumber.String()] = true
		}
	}
	noneLost(t, load, 2000)
	for service, serials := range seen {
		// After 6 to 7.4 of 10 seconds: in 25 it is 3 or 4 times.
		if n := len(serials); n < 3 || n > 6 {
			t.Errorf("%s presented %d certificates in 25s, want 4 or 5", service, n)
		}
	}
}
