package agent_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"koguma/certs"
	"koguma/xds"
)

// A control plane that forgot everything is shown the certificates that are held: none is made again, and Envoy hears
// nothing of it.
func TestReconnectReissuesNothing(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	first := keyPair(t, e.secret(identityName))
	cp.await(xds.Acked, xds.TypeSecret, 1)
	cp.down()
	cp.up()
	cp.await(xds.Acked, xds.TypeSecret, 2)
	e.none(100 * time.Millisecond)
	cp.read(func() {
		if cp.issued != 1 || len(cp.keys) != 1 || len(cp.held) == 0 || !cp.held[0][0].Equal(first) {
			t.Errorf("%d issued for %d keys, %d shown", cp.issued, len(cp.keys), len(cp.held))
		}
	})
}

// A certificate is renewed while it is still valid, for a new key each time.
func TestRenewal(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 3 * time.Second
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	last := keyPair(t, e.secret(identityName))
	for range 2 {
		next := keyPair(t, e.secret(identityName))
		if now := time.Now(); now.After(last.NotAfter) {
			t.Errorf("renewed %v after the end", now.Sub(last.NotAfter))
		} else if left := last.NotAfter.Sub(now); left > 2200*time.Millisecond {
			t.Errorf("renewed %v before the end of three seconds", left)
		}
		if equal(next.PublicKey, last.PublicKey) {
			t.Error("the key is the old one")
		}
		last = next
	}
}

// A renewal that fails is tried again; the old certificate serves meanwhile, and an older one never takes its place.
func TestFailedRenewal(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	cp.life = 3 * time.Second
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	keyPair(t, e.secret(identityName))
	cp.read(func() {
		cp.sign = func(name string, key crypto.PublicKey) *xds.Resource { // for another mesh
			id, _ := certs.WorkloadID("other", "web")
			ca := newCA(t, "other")
			chain, err := ca.Issue(context.Background(), certs.Request{Key: key, ID: id, Life: time.Hour})
			if err != nil {
				t.Error(err)
			}
			return xds.TLSSecret(name, certs.EncodeChain(chain), nil)
		}
	})
	cp.await(xds.Nacked, xds.TypeSecret, 1)
	e.none(50 * time.Millisecond)
	cp.down()
	cp.read(func() { cp.sign = cp.issue })
	cp.up()
	if next := keyPair(t, e.secret(identityName)); next.URIs[0].String() != "spiffe://default/web" {
		t.Errorf("identity %s", next.URIs[0])
	}
}

// What the control plane must not send is refused with a reason, and Envoy gets none of it.
func TestBadIdentities(t *testing.T) {
	t.Parallel()
	foreign, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, err := certs.WorkloadID("default", "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, reason string
		sign         func(cp *fakeCP, key crypto.PublicKey) *xds.Resource
	}{
		{"foreign key", "for a key that is not this proxy's", func(cp *fakeCP, _ crypto.PublicKey) *xds.Resource {
			return cp.issue(identityName, foreign.Public())
		}},
		{"with a key", "it has a private key", func(cp *fakeCP, _ crypto.PublicKey) *xds.Resource {
			chain, _ := cp.meshCA.Issue(context.Background(), certs.Request{Key: foreign.Public(), ID: id, Life: time.Hour})
			key, _ := certs.EncodeKey(foreign)
			return xds.TLSSecret(identityName, certs.EncodeChain(chain), key)
		}},
		{"other CA", "", func(_ *fakeCP, key crypto.PublicKey) *xds.Resource {
			chain, _ := newCA(t, "default").Issue(context.Background(), certs.Request{Key: key, ID: id, Life: time.Hour})
			return xds.TLSSecret(identityName, certs.EncodeChain(chain), nil)
		}},
		{"of a clock that is ahead", "by the clock here, which is behind", func(cp *fakeCP, key crypto.PublicKey) *xds.Resource {
			return issuedAhead(t, cp.meshCA, key, 10*time.Minute)
		}},
		{"no certificate", "", func(*fakeCP, crypto.PublicKey) *xds.Resource {
			return xds.TLSSecret(identityName, []byte("nonsense"), nil)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cp := startCP(t)
			cp.sign = func(_ string, key crypto.PublicKey) *xds.Resource { return test.sign(cp, key) }
			r := start(t, config(t, cp))
			e := r.envoy()
			e.takeAll(identityName)
			refused := func(e xds.Event) bool {
				return is(xds.Nacked, xds.TypeSecret)(e) && strings.Contains(e.Reason, test.reason)
			}
			eventually(t, func() error {
				if cp.saw(refused) == 0 {
					return errors.New("not refused")
				}
				return nil
			})
			e.none(20 * time.Millisecond)
		})
	}
}

// issuedAhead is the secret with a certificate that a control plane makes whose clock is ahead by so much.
func issuedAhead(t *testing.T, ca *certs.CA, key crypto.PublicKey, by time.Duration) *xds.Resource {
	id, _ := certs.WorkloadID("default", "web")
	chain, err := ca.Issue(context.Background(), certs.Request{Key: key, ID: id, Life: 30 * time.Minute})
	if err != nil {
		t.Error(err)
		return nil
	}
	keyPEM, _ := ca.KeyPEM()
	block, _ := pem.Decode(keyPEM)
	signer, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
	template := *chain[0]
	template.NotBefore, template.NotAfter = template.NotBefore.Add(by), template.NotAfter.Add(by)
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.Certificate(), key, signer)
	if err != nil {
		t.Error(err)
	}
	return xds.TLSSecret(identityName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil)
}

// An older certificate does not take the place of one that is still valid.
func TestOlderCertificateIsRefused(t *testing.T) {
	t.Parallel()
	cp := startCP(t)
	var older []*x509.Certificate
	cp.sign = func(name string, key crypto.PublicKey) *xds.Resource {
		id, _ := certs.WorkloadID("default", "web")
		if older == nil {
			older, _ = cp.meshCA.Issue(context.Background(), certs.Request{Key: key, ID: id, Life: time.Hour})
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond))) // times have seconds
			return cp.issue(name, key)
		}
		return xds.TLSSecret(name, certs.EncodeChain(older), nil)
	}
	r := start(t, config(t, cp))
	e := r.envoy()
	e.takeAll(identityName)
	keyPair(t, e.secret(identityName))
	cp.down()
	cp.up()
	eventually(t, func() error {
		if cp.saw(func(e xds.Event) bool { return strings.Contains(e.Reason, "older than the one in use") }) == 0 {
			return errors.New("not refused")
		}
		return nil
	})
	e.none(20 * time.Millisecond)
}
