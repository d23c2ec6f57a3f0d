package cp

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"koguma/authority"
	"koguma/certs"
	"koguma/cp/ledger"
	"koguma/policy"
	"koguma/xds"
)

// identities are the certificates of one proxy: one for each service that it stands for, given out when it asks for
// the secret. They belong to the goroutine of its stream.
type identities struct {
	applicant

	// public is the key that the proxy's agent made and keeps. It is nil for an Envoy without an agent: that one is
	// sent a key that was made here, and is not kept anywhere else.
	public crypto.PublicKey
	csr    []byte                // in DER, by that key
	held   [][]*x509.Certificate // what the proxy has from before, so that it need not be made again, until it is given
	came   bool                  // with something from before
	asked  map[string]bool       // the names of the secrets that it wants
	svids  map[string]*svid      // by the name of the secret

	out   *issuing // what is being made, nil if nothing is
	work  sync.WaitGroup
	poke  func()              // wakes the stream
	trust authority.Authority // that was asked last
	life  time.Duration       // of what it signs
	fault error               // why something cannot be made
	pause *backoff.ExponentialBackOff
	retry time.Time // not before then, after something failed
	calm  time.Time // not before then is a certificate replaced just because another CA signs now
}

// applicant is for whom certificates are made, as long as the session lasts.
type applicant struct {
	mesh     string
	proxy    string    // the name of its Dataplane
	notAfter time.Time // nothing lives longer than the token that it was given for; zero: there is none
	issued   func(*x509.Certificate)
	token    string // the id of that token; "" where proxies need none
	ledger   *ledger.Ledger
}

// svid is one certificate that was given out.
type svid struct {
	order
	leaf    *x509.Certificate
	made    bool // here, rather than brought along
	renewAt time.Time
	secret  *xds.Resource
}

// renewalPoint is the share of its life after which a certificate is renewed, give or take renewalSpread, so that those
// that were made together are not renewed together.
const (
	renewalPoint  = 2.0 / 3
	renewalSpread = 0.1
)

// want is a certificate that a proxy should have.
type want struct {
	secret  string // the name that it goes by
	service string
	names   string // the DNS names, sorted, with a blank between
	served  bool   // a listener shows it
}

// wants is all certificates that the proxy of a Dataplane should have, that of its first service first.
func wants(d *policy.Dataplane) []want {
	var all []want
	for i, service := range d.Services() {
		all = append(all, want{
			secret: xds.IdentitySecretName(d.Mesh, service, i == 0), service: service,
			names: strings.Join(xds.TagNames(d.Peer(service)), " "),
			served: slices.ContainsFunc(d.Networking.Inbound, func(in policy.Inbound) bool {
				return in.Service() == service && in.State != policy.StateIgnored
			}),
		})
	}
	return all
}

// secrets are those that the proxy asked for and has, and why others cannot be made. What is missing, due, or for another
// key or of another CA than it should be, is made beside the stream. Until then, what there was stays.
func (ids *identities) secrets(ctx context.Context, auth *trust, all []want, now time.Time) ([]*xds.Resource, error) {
	if auth != nil && ids.trust != auth.Authority { // what went wrong with another CA says nothing of this one
		if ids.calm = now; auth.spread > 0 {
			ids.calm = now.Add(rand.N(auth.spread))
		}
		ids.trust = auth.Authority
		ids.fail(nil, now)
	}
	if auth != nil {
		ids.life = auth.backend.LeafLife()
	}
	wanted := ids.wanted(auth, all)
	lack := ids.lacking(wanted, now)
	if ids.collect(lack, now) {
		if lack = ids.lacking(wanted, now); len(lack) == 0 {
			ids.fail(nil, now)
		} else if !now.Before(ids.retry) {
			ids.begin(ctx, auth, lack)
			ids.collect(lack, now)
		}
	}
	var secrets []*xds.Resource
	current := map[string]*svid{}
	for _, o := range wanted {
		if s := ids.svids[o.name]; s != nil {
			current[o.name] = s
			secrets = append(secrets, s.secret)
		}
	}
	ids.svids = current
	return secrets, ids.fault
}

// wanted is what of all these the proxy asked for and may have; nothing while mTLS is off.
func (ids *identities) wanted(auth *trust, all []want) []order {
	var wanted []order
	for _, w := range all {
		if auth != nil && ids.asked[w.secret] {
			wanted = append(wanted, order{w.secret, w.service, w.names, auth.Authority, ids.public})
		}
	}
	return wanted
}

// lacking is what is to be made of what is wanted. When to renew a certificate is for the agent to say where the agent has
// the key.
func (ids *identities) lacking(wanted []order, now time.Time) []order {
	var lack []order
	for _, o := range wanted {
		s := ids.svids[o.name]
		same := s != nil && (s.order == o || now.Before(ids.calm) && s.order == order{o.name, o.service, o.names, s.trust, o.public})
		if !same || o.public == nil && !now.Before(s.renewAt) {
			lack = append(lack, o)
		}
	}
	return lack
}

// is reports whether the certificate is the wanted one; nil never is.
func (s *svid) is(w want) bool { return s != nil && s.service == w.service && s.names == w.names }

// complete reports whether the proxy has been given all certificates that its listeners show.
func (ids *identities) complete(all []want) bool {
	return !slices.ContainsFunc(all, func(w want) bool { return w.served && !ids.svids[w.secret].is(w) })
}

// newSVID is a certificate that the proxy has since begin.
func newSVID(o order, chain []*x509.Certificate, key crypto.Signer, begin time.Time) *svid {
	var keyPEM []byte
	if key != nil {
		keyPEM, _ = certs.EncodeKey(key) // an EC key, which always encodes
	}
	return &svid{
		order: o, leaf: chain[0], renewAt: renewal(chain[0], begin),
		secret: xds.TLSSecret(o.name, certs.EncodeChain(chain), keyPEM),
	}
}

// renewal is when a certificate is due that its proxy has since begin: never within a second, for one that a token is about
// to end would be made again and again.
func renewal(leaf *x509.Certificate, begin time.Time) time.Time {
	share := renewalPoint * (1 + renewalSpread*(2*rand.Float64()-1))
	return begin.Add(max(time.Second, time.Duration(share*float64(leaf.NotAfter.Sub(begin)))))
}

// due is when to look again after a look at now: when something is to be tried again or made anew by itself; zero if nothing is.
// Who is poked anyway need not. What was left alone then is due, even if the time for it has come meanwhile.
func (ids *identities) due(now time.Time) time.Time {
	if ids.out != nil {
		return time.Time{}
	}
	if ids.fault != nil {
		return ids.retry
	}
	first := ids.calm
	if !now.Before(first) {
		first = time.Time{}
	}
	for _, s := range ids.svids {
		if s.public == nil && (first.IsZero() || s.renewAt.Before(first)) {
			first = s.renewAt
		}
	}
	return first
}

// request takes in what a proxy says of its key: a signing request with the public half, and the certificates that it
// still has. Only the public key counts, for the CA we hold; one elsewhere is shown the request.
func (ids *identities) request(csr string, held []string) error {
	public, err := certs.ParseCSR([]byte(csr))
	if err != nil {
		return fmt.Errorf("dataplane.csr: %w", err)
	}
	if same, ok := ids.public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(public) {
		ids.public, ids.held, ids.came = public, nil, false
	}
	ids.csr = derOf([]byte(csr)) // ParseCSR has seen that it is one block
	for _, text := range held[:min(len(held), maxHeld-len(ids.held))] {
		if chain, err := certs.ParseChain([]byte(text)); err == nil && len(chain) > 0 {
			ids.held, ids.came = append(ids.held, chain), true
		}
	}
	return nil
}

// maxHeld bounds how many certificates of a proxy are looked at.
const maxHeld = 64

// inUse is what a proxy shows that has taken all that is there for it.
func (ids *identities) inUse() []leafInUse {
	var leaves []leafInUse
	for _, s := range ids.svids {
		leaves = append(leaves, leafInUse{s.service, ledger.Serial(s.leaf), authority.Fingerprint(s.trust.Roots()), s.leaf.NotAfter})
	}
	return leaves
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
