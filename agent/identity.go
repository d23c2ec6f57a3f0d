package agent

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"koguma/certs"
	"koguma/mistake"
	"koguma/xds"
)

// identity has the workload's private keys, which are in memory and nowhere else, and the certificates for them.
type identity struct {
	mesh string

	mu sync.Mutex
	// keys are those that certificates are in use or asked for with; the newest is the last, and the one that the next
	// certificates are asked for with.
	keys  []*ecdsa.PrivateKey
	svids map[string]*svid // by the name of their secret
	roots []*x509.Certificate
}

// svid is a certificate and its key. It is not changed once made.
type svid struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
	renew time.Time // when a new one should be asked for
	// alarm is when there should have been one, so that somebody has to look after it.
	alarm time.Time
}

func newIdentity(mesh string) (*identity, error) {
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	return &identity{mesh: mesh, keys: []*ecdsa.PrivateKey{key}, svids: map[string]*svid{}}, nil
}

// request is a certificate request, in PEM, for the newest key.
func (id *identity) request() ([]byte, error) {
	id.mu.Lock()
	key := id.keys[len(id.keys)-1]
	id.mu.Unlock()
	return certs.NewCSR(key)
}

// held are the chains, in PEM, that are still valid, for a control plane that has forgotten them.
func (id *identity) held(now time.Time) []string {
	id.mu.Lock()
	defer id.mu.Unlock()
	var held []string
	for _, name := range slices.Sorted(maps.Keys(id.svids)) {
		if s := id.svids[name]; now.Before(s.notAfter()) {
			held = append(held, string(certs.EncodeChain(s.chain)))
		}
	}
	return held
}

// due is when the first of the named certificates should be renewed; the zero time if none of them is held.
func (id *identity) due(names []string) time.Time {
	id.mu.Lock()
	defer id.mu.Unlock()
	var first time.Time
	for _, name := range names {
		if s := id.svids[name]; s != nil && (first.IsZero() || s.renew.Before(first)) {
			first = s.renew
		}
	}
	return first
}

// overdue is a certificate of those named that should have had a successor by now, nil if there is none.
func (id *identity) overdue(names []string, now time.Time) *svid {
	id.mu.Lock()
	defer id.mu.Unlock()
	for _, name := range names {
		if s := id.svids[name]; s != nil && !now.Before(s.alarm) {
			return s
		}
	}
	return nil
}

// leastLeft is what should be left of a certificate when its successor is asked for.
const leastLeft = 10 * time.Second

// hasten makes the certificates due that end at end, with a token that has a successor, if so little is left of them
// that their time would come too late.
func (id *identity) hasten(end, now time.Time) {
	id.mu.Lock()
	defer id.mu.Unlock()
	for name, s := range id.svids {
		if s.notAfter().Equal(end) && end.Sub(now) < leastLeft {
			id.svids[name] = &svid{key: s.key, chain: s.chain, renew: now, alarm: s.alarm}
		}
	}
}

// renew makes a new key, unless the newest one is still waiting for the certificates that are due.
func (id *identity) renew(names []string, now time.Time) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	newest := id.keys[len(id.keys)-1]
	used := slices.ContainsFunc(names, func(name string) bool {
		s := id.svids[name]
		return s != nil && s.key == newest && !now.Before(s.renew)
	})
	if !used {
		return nil
	}
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	id.keys = append(id.keys, key)
	return nil
}

// notAfter is when the first of the named certificates ends; the zero time if none of them is held. Without names it is
// that of all.
func (id *identity) notAfter(names []string) time.Time {
	id.mu.Lock()
	defer id.mu.Unlock()
	var first time.Time
	for name, s := range id.svids {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		if first.IsZero() || s.notAfter().Before(first) {
			first = s.notAfter()
		}
	}
	return first
}

// join makes of the secrets that the control plane sent those that Envoy needs: certificates get their key. It takes
// over either all of them or, with an error, none.
func (id *identity) join(secrets []*tlsv3.Secret, now time.Time) (joined []*xds.Resource, renewed bool, err error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	roots, err := id.newRoots(secrets)
	if err != nil {
		return nil, false, err
	}
	svids := maps.Clone(id.svids)
	for _, secret := range secrets {
		if secret.GetTlsCertificate() == nil {
			r, err := resource(secret)
			if err != nil {
				return nil, false, err
			}
			joined = append(joined, r)
			continue
		}
		s, err := id.accept(secret, svids[secret.GetName()], roots, now)
		if err != nil {
			return nil, false, fmt.Errorf("secret %q: %w", secret.GetName(), err)
		}
		renewed = renewed || s != svids[secret.GetName()]
		svids[secret.GetName()] = s
		key, err := certs.EncodeKey(s.key)
		if err != nil {
			return nil, false, err
		}
		joined = append(joined, xds.TLSSecret(secret.GetName(), certs.EncodeChain(s.chain), key))
	}
	id.roots, id.svids = roots, svids
	id.forget()
	return joined, renewed, nil
}

// newRoots are the roots that hold once the secrets are taken over.
func (id *identity) newRoots(secrets []*tlsv3.Secret) ([]*x509.Certificate, error) {
	roots := id.roots
	for _, s := range secrets {
		if s.GetName() != xds.CASecretName(id.mesh) {
			continue
		}
		var err error
		if roots, err = certs.ParseChain(s.GetValidationContext().GetTrustedCa().GetInlineBytes()); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.GetName(), err)
		}
	}
	return roots, nil
}

// accept checks a certificate that is to take the place of held, which may be nil.
func (id *identity) accept(secret *tlsv3.Secret, held *svid, roots []*x509.Certificate, now time.Time) (*svid, error) {
	cert := secret.GetTlsCertificate()
	if cert.GetPrivateKey() != nil {
		return nil, errors.New("it has a private key, although this proxy has its own")
	}
	chain, err := certs.ParseChain(cert.GetCertificateChain().GetInlineBytes())
	if err != nil {
		return nil, err
	}
	if held != nil && slices.EqualFunc(chain, held.chain, (*x509.Certificate).Equal) {
		return held, nil
	}
	i := slices.IndexFunc(id.keys, func(k *ecdsa.PrivateKey) bool { return k.PublicKey.Equal(chain[0].PublicKey) })
	if i < 0 {
		return nil, errors.New("the certificate is for a key that is not this proxy's")
	}
	if err := id.check(chain, roots, now); err != nil {
		if chain[0].NotBefore.After(now) {
			return nil, mistake.New(mistake.ClocksDiffer, fmt.Errorf("%w; %s", err, wrongTime(chain[0], now)))
		}
		return nil, err
	}
	if held != nil && now.Before(held.notAfter()) && chain[0].NotBefore.Before(held.chain[0].NotBefore) {
		return nil, errors.New("the certificate is older than the one in use, which is still valid")
	}
	s := &svid{key: id.keys[i], chain: chain}
	life := s.notAfter().Sub(now)
	s.renew = now.Add(renewAfter(life))
	s.alarm = s.renew.Add(life / 10)
	return s, nil
}

// check says what is wrong with a chain as an identity in this mesh.
func (id *identity) check(chain, roots []*x509.Certificate, now time.Time) error {
	if len(chain[0].URIs) != 1 {
		return fmt.Errorf("the certificate has %d identities instead of one", len(chain[0].URIs))
	}
	want, err := spiffeid.FromURI(chain[0].URIs[0])
	if err != nil {
		return err
	}
	if want.TrustDomain().Name() != id.mesh {
		return fmt.Errorf("the certificate is for %s, which is not in mesh %q", want, id.mesh)
	}
	if len(roots) == 0 {
		return errors.New("there are no roots of the mesh to check the certificate by")
	}
	return certs.Check(chain, roots, want, now)
}

// forget lets go of keys that have no certificate and will get none.
func (id *identity) forget() {
	newest := id.keys[len(id.keys)-1]
	id.keys = slices.DeleteFunc(id.keys, func(k *ecdsa.PrivateKey) bool {
		if k == newest {
			return false
		}
		for _, s := range id.svids {
			if s.key == k {
				return false
			}
		}
		return true
	})
}

// notAfter is when the first certificate of the chain ends.
func (s *svid) notAfter() time.Time {
	return slices.MinFunc(s.chain, func(a, b *x509.Certificate) int {
		return cmp.Compare(a.NotAfter.Unix(), b.NotAfter.Unix())
	}).NotAfter
}

// renewAfter is how long a certificate with so much life before it is left alone: two thirds of that, and up to a tenth
// of those more or less, so that certificates of one moment are not all renewed in one moment. Never less than a second:
// the certificates of a token that is about to end become shorter and shorter.
func renewAfter(life time.Duration) time.Duration {
	jitter := 0.9 + 0.2*rand.Float64()
	return max(time.Second, time.Duration(float64(life)*2/3*jitter))
}
