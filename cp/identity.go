package cp

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"time"

	"koguma/authority"
	"koguma/certs"
	"koguma/xds"
)

// identities are the certificates of one proxy: one for each service that it stands for, given out when it asks for
// the secret. They belong to the goroutine of its stream.
type identities struct {
	mesh     string
	notAfter time.Time // nothing lives longer than the token that it was given for; zero: there is none
	issued   func(*x509.Certificate)
	token    string // the id of that token; "" where proxies need none
	ledger   *ledger

	// public is the key that the proxy's agent made and keeps. It is nil for an Envoy without an agent: that one is
	// sent a key that was made here, and is not kept anywhere else.
	public crypto.PublicKey
	held   [][]*x509.Certificate // what the proxy has from before, so that it need not be made again
	asked  map[string]bool       // the names of the secrets that it wants
	svids  map[string]*svid      // by the name of the secret
}

// svid is one certificate that was given out.
type svid struct {
	service string
	public  crypto.PublicKey    // as it was in the request; nil if the key was made here
	trust   authority.Authority // that signed it
	leaf    *x509.Certificate
	made    bool // here, rather than brought along
	renewAt time.Time
	secret  *xds.Resource
}

// renewalPoint is the share of its life after which a certificate is renewed, give or take renewalSpread, so that those
// that were made together are not renewed together. Its life begins when it is made, which is backdate after the
// beginning that it names.
const (
	renewalPoint  = 2.0 / 3
	renewalSpread = 0.1
	backdate      = time.Minute
)

// secrets are those that the proxy asked for and can have. What is missing, due, or for another key or of another CA
// than it should be, is made first. Where that fails, what there was stays.
func (ids *identities) secrets(ctx context.Context, auth *trust, services []string, now time.Time) ([]*xds.Resource, error) {
	if auth == nil {
		ids.svids = map[string]*svid{}
		return nil, nil
	}
	var secrets []*xds.Resource
	var failed error
	current := map[string]*svid{}
	for i, service := range services {
		name := xds.IdentitySecretName(ids.mesh, service, i == 0)
		if !ids.asked[name] {
			continue
		}
		s := ids.svids[name]
		if !ids.good(s, service, auth, now) {
			made, err := ids.make(ctx, name, service, auth, now)
			if err != nil {
				failed = fmt.Errorf("certificate of service %q: %w", service, err)
			} else {
				s = made
			}
		}
		if s != nil {
			current[name] = s
			secrets = append(secrets, s.secret)
		}
	}
	ids.svids = current
	return secrets, failed
}

// good reports whether a certificate can stay. When to renew it is for the agent to say where the agent has the key.
func (ids *identities) good(s *svid, service string, auth *trust, now time.Time) bool {
	return s != nil && s.service == service && s.trust == auth.Authority && s.public == ids.public &&
		(ids.public != nil || now.Before(s.renewAt))
}

// make gives out a certificate: one that the proxy already has if it will do, else a new one.
func (ids *identities) make(ctx context.Context, name, service string, auth *trust, now time.Time) (*svid, error) {
	id, err := certs.WorkloadID(ids.mesh, service)
	if err != nil {
		return nil, err
	}
	if ids.public != nil {
		for _, chain := range ids.held {
			if ids.adoptable(chain[0], now) && certs.Check(chain, auth.roots, id, now) == nil {
				if err := ids.record(ctx, service, chain[0]); err != nil {
					return nil, err
				}
				return newSVID(name, service, auth, ids.public, chain, nil), nil
			}
		}
	}
	public, key := ids.public, crypto.Signer(nil)
	if public == nil {
		if key, err = certs.NewKey(); err != nil {
			return nil, err
		}
		public = key.Public()
	}
	chain, err := auth.Issue(ctx, certs.Request{
		Key: public, ID: id, Life: auth.backend.LeafLife(), NotAfter: ids.notAfter,
	})
	if err != nil {
		return nil, err
	}
	if err := ids.record(ctx, service, chain[0]); err != nil {
		return nil, err
	}
	ids.issued(chain[0])
	s := newSVID(name, service, auth, ids.public, chain, key)
	s.made = true
	return s, nil
}

// adoptable reports whether a certificate that the proxy has is for its key, not due, and not longer than one that would
// be made now.
func (ids *identities) adoptable(leaf *x509.Certificate, now time.Time) bool {
	key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(ids.public) && now.Before(renewal(leaf)) && (ids.notAfter.IsZero() || !leaf.NotAfter.After(ids.notAfter)) &&
		!ids.ledger.isWithdrawn(ids.mesh, leaf)
}

// record has it written down that the certificate belongs to the token, before the proxy gets it. A certificate from
// before belongs to this token then, and no longer to the old one: it stays good when that is revoked, and goes with this.
func (ids *identities) record(ctx context.Context, service string, leaf *x509.Certificate) error {
	if ids.token == "" {
		return nil
	}
	return ids.ledger.record(ctx, ids.mesh, service, ids.token, leaf)
}

func newSVID(name, service string, auth *trust, public crypto.PublicKey, chain []*x509.Certificate, key crypto.Signer) *svid {
	var keyPEM []byte
	if key != nil {
		keyPEM, _ = certs.EncodeKey(key) // an EC key, which always encodes
	}
	return &svid{
		service: service, public: public, trust: auth.Authority, leaf: chain[0], renewAt: renewal(chain[0]),
		secret: xds.TLSSecret(name, certs.EncodeChain(chain), keyPEM),
	}
}

// renewal is when a certificate is due: never within a second, for one that a token is about to end would be made again
// and again.
func renewal(leaf *x509.Certificate) time.Time {
	begin := leaf.NotBefore.Add(backdate)
	share := renewalPoint + renewalSpread*(2*rand.Float64()-1)
	return begin.Add(max(time.Second, time.Duration(share*float64(leaf.NotAfter.Sub(begin)))))
}

// due is when the first of the certificates is to be made anew by itself, zero if none is.
func (ids *identities) due() time.Time {
	var first time.Time
	for _, s := range ids.svids {
		if s.public == nil && (first.IsZero() || s.renewAt.Before(first)) {
			first = s.renewAt
		}
	}
	return first
}

// request takes in what a proxy says of its key: a signing request with the public half, and the certificates that it
// still has. Only the public key is taken from the request.
func (ids *identities) request(csr string, held []string) error {
	public, err := certs.ParseCSR([]byte(csr))
	if err != nil {
		return fmt.Errorf("dataplane.csr: %w", err)
	}
	if same, ok := ids.public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(public) {
		ids.public, ids.held = public, nil
	}
	for _, text := range held[:min(len(held), maxHeld-len(ids.held))] {
		if chain, err := certs.ParseChain([]byte(text)); err == nil && len(chain) > 0 {
			ids.held = append(ids.held, chain)
		}
	}
	return nil
}

// maxHeld bounds how many certificates of a proxy are looked at.
const maxHeld = 64

// first is the certificate that the proxy has as its first service, nil if it has none.
func (ids *identities) first(services []string) *svid {
	if len(services) == 0 {
		return nil
	}
	return ids.svids[xds.IdentitySecretName(ids.mesh, services[0], true)]
}

// certificate is the leaf, nil for nil.
func (s *svid) certificate() *x509.Certificate {
	if s == nil {
		return nil
	}
	return s.leaf
}

// want notes which secrets the proxy asks for.
func (ids *identities) want(names []string) {
	ids.asked = make(map[string]bool, len(names))
	for _, n := range names {
		ids.asked[n] = true
	}
}
