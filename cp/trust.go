package cp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"koguma/authority"
	"koguma/certs"
	"koguma/policy"
	"koguma/store"
	"koguma/xds"
)

// trust is the authority that signs the identities of a mesh, and all that its peers trust.
type trust struct {
	authority.Authority
	backend     *policy.Backend
	fingerprint string              // of the authority
	roots       []*x509.Certificate // of the authority
	trusted     []string            // the fingerprints of all that are trusted, in order
	pem         string              // the roots of all that are trusted
	// spread is the time over which the certificates of the one that signed before are replaced.
	spread time.Duration
}

// All certificates of a mesh are replaced over spreadPerProxy for each proxy, mostSpread at most.
const (
	spreadPerProxy = time.Millisecond
	mostSpread     = 5 * time.Second
)

// fingerprints are those of all that are trusted, nil while mTLS is off.
func (t *trust) fingerprints() []string {
	if t == nil {
		return nil
	}
	return t.trusted
}

// equal reports whether two say the same.
func (t *trust) equal(o *trust) bool {
	return o != nil && t.Authority == o.Authority && t.backend == o.backend && t.pem == o.pem && slices.Equal(t.trusted, o.trusted)
}

// opened is the authority of a backend, or why there is none.
type opened struct {
	authority.Authority
	backend     *policy.Backend
	read        map[string]*policy.Secret // that it was opened with; nil for those that there were not
	roots       []*x509.Certificate
	fingerprint string
	err         error
}

// lost is an authority whose key cannot be had any more. What it has signed stays good, and it signs nothing.
type lost struct {
	roots []*x509.Certificate
	err   error
}

// Issue implements [certs.Issuer].
func (l *lost) Issue(context.Context, certs.Request) ([]*x509.Certificate, error) { return nil, l.err }

// Roots implements [authority.Authority].
func (l *lost) Roots() []*x509.Certificate { return l.roots }

// errUnsettled says that nobody knows yet whom the mesh trusts, which is about to change.
var errUnsettled = errors.New("it is not settled yet which CA the mesh trusts")

// standing is who signs and whom to trust in the mesh: nil while mTLS is off. It is the same value as long as it says the
// same.
func (m *meshIndex) standing() (*trust, error) {
	switch {
	case m.mesh == nil:
		return nil, fmt.Errorf("the mesh does not exist")
	case m.mesh.Enabled() == nil:
		return nil, nil
	case m.trust == nil:
		if _, err := m.target(); err != nil {
			return nil, err
		}
		return nil, errUnsettled
	case m.stands != nil && !m.doubted:
		return m.stands, nil
	}
	t := &trust{trusted: m.trust.Fingerprints(), spread: min(time.Duration(len(m.dataplanes))*spreadPerProxy, mostSpread)}
	for i := range m.trust.Authorities {
		t.pem += m.trust.Authorities[i].Roots
	}
	if err := m.sign(t); err != nil {
		return nil, err
	}
	m.doubted = false
	if m.stands != nil && t.equal(m.stands) {
		return m.stands, nil
	}
	m.stands, m.withdrawn, m.noCRL = t, nil, nil
	return t, nil
}

// follow takes in what the mesh trusts now. What is not trusted any more is forgotten.
func (m *meshIndex) follow(e store.Event) {
	m.trust, _ = e.Resource.(*policy.Trust)
	m.stands, m.withdrawn, m.noCRL = nil, nil, nil
	maps.DeleteFunc(m.kept, func(fingerprint string, _ *opened) bool { return m.trust.Authority(fingerprint) == nil })
}

// sign sets the authority that signs.
func (m *meshIndex) sign(t *trust) error {
	a := m.trust.Authority(m.trust.Issuing)
	if a == nil {
		return errUnsettled // by force; the next is on its way
	}
	o := m.authority(a)
	if o == nil {
		roots, err := certs.ParseChain([]byte(a.Roots))
		if err != nil {
			return fmt.Errorf("the roots of backend %q of mesh %q: %w", a.Backend, m.mesh.Name, err)
		}
		o = &opened{backend: m.backend(a.Backend), roots: roots, fingerprint: a.Fingerprint}
		o.Authority = &lost{roots, m.missing(a)}
		m.kept[a.Fingerprint] = o
	}
	t.Authority, t.backend, t.roots, t.fingerprint = o.Authority, o.backend, o.roots, o.fingerprint
	return nil
}

// missing is why an authority that is trusted cannot be opened.
func (m *meshIndex) missing(a *policy.TrustedAuthority) error {
	reason := errors.New("it has another CA now")
	if o := m.opened[a.Backend]; o == nil {
		reason = errors.New("the mesh has it no more")
	} else if o.err != nil {
		reason = o.err
	}
	return fmt.Errorf("backend %q of mesh %q signs until everybody trusts the next, and cannot: %w; see kumactl inspect mesh %s", a.Backend, m.mesh.Name, reason, m.mesh.Name)
}

// backend is the backend of that name, one with nothing but the name if there is none.
func (m *meshIndex) backend(name string) *policy.Backend {
	if m.mesh.MTLS != nil {
		for i := range m.mesh.MTLS.Backends {
			if b := &m.mesh.MTLS.Backends[i]; b.Name == name {
				return b
			}
		}
	}
	return &policy.Backend{Name: name}
}

// target is the authority of the backend that the Mesh says, nil while that is none.
func (m *meshIndex) target() (*opened, error) {
	b := m.mesh.Enabled()
	if b == nil {
		return nil, nil
	}
	o := m.open(b)
	if o.err != nil {
		return nil, fmt.Errorf("the CA of backend %q of mesh %q: %w", b.Name, m.mesh.Name, o.err)
	}
	return o, nil
}

// authority is the one that is trusted, as its backend has it or, where that has become another, as it last had it; nil
// where that is not known any more.
func (m *meshIndex) authority(a *policy.TrustedAuthority) *opened {
	if b := m.backend(a.Backend); b.Type != "" {
		if o := m.open(b); o.err == nil && o.fingerprint == a.Fingerprint {
			m.kept[a.Fingerprint] = o
		}
	}
	return m.kept[a.Fingerprint]
}

// open is the authority of a backend. It stays the same while what it was opened from does.
func (m *meshIndex) open(b *policy.Backend) *opened {
	last := m.opened[b.Name]
	if last != nil && last.backend.Type == b.Type && last.backend.Conf == b.Conf && m.stillSo(last.read) {
		if last.backend != b {
			same := *last // the same CA, so that the certificates that it has signed stay
			same.backend = b
			m.opened[b.Name] = &same
		}
		return m.opened[b.Name]
	}
	o := &opened{backend: b, read: map[string]*policy.Secret{}}
	m.opened[b.Name] = o
	kind, err := authority.KindOf(b.Type)
	if err != nil {
		o.err = err
		return o
	}
	o.Authority, o.err = kind.Open(m.mesh.Name, b, func(name string) []byte {
		s := m.secrets[name]
		o.read[name] = s
		if s == nil {
			return nil
		}
		return s.Data
	})
	if o.err == nil {
		o.roots = o.Roots()
		o.fingerprint = authority.Fingerprint(o.roots)
	}
	return o
}

// stillSo reports whether these secrets are what they were.
func (m *meshIndex) stillSo(read map[string]*policy.Secret) bool {
	for name, s := range read {
		if m.secrets[name] != s {
			return false
		}
	}
	return true
}

// refresh has what may have changed outside of the store opened anew, and reports whether there is any such.
func (m *meshIndex) refresh() bool {
	again := false
	for name, o := range m.opened {
		if s, ok := o.Authority.(authority.Reloader); o.err != nil || ok && s.Stale() {
			delete(m.opened, name)
			again = true
		}
	}
	m.doubted = m.doubted || again
	return again
}

// withdrawnBy is what was withdrawn in the mesh, with the lists that its authorities sign. Where one may not, the rest
// happens all the same, and noCRL says why.
func (m *meshIndex) withdrawnBy() *xds.Withdrawn {
	if m.withdrawals == nil || m.withdrawn != nil {
		return m.withdrawn
	}
	var crl []byte
	crl, m.noCRL = m.revocationLists()
	m.withdrawn = &xds.Withdrawn{CRL: string(crl), Rounds: m.withdrawals.Rounds}
	return m.withdrawn
}

// revocationLists are the lists of all authorities that are trusted, nil if nothing was withdrawn. All of them or none:
// an Envoy that has a list refuses every certificate of a CA without one.
func (m *meshIndex) revocationLists() ([]byte, error) {
	if len(m.withdrawals.Certificates) == 0 {
		return nil, nil
	}
	var lists []byte
	for i := range m.trust.Authorities {
		a := &m.trust.Authorities[i]
		revoked, err := revokedBy(a.Fingerprint, m.withdrawals)
		if err != nil {
			return nil, err
		}
		list, err := revocationList(m.authority(a), revoked, m.withdrawals)
		if err != nil {
			return nil, fmt.Errorf("backend %q: %w", a.Backend, err)
		}
		lists = append(lists, list...)
	}
	return lists, nil
}

// revokedBy is what belongs on the list of one authority.
func revokedBy(fingerprint string, w *policy.Withdrawals) ([]certs.Revoked, error) {
	var revoked []certs.Revoked
	for _, c := range w.Certificates {
		if c.Authority != "" && c.Authority != fingerprint {
			continue
		}
		serial, ok := new(big.Int).SetString(c.Serial, 16)
		if !ok {
			return nil, fmt.Errorf("the store has a withdrawn certificate with the serial number %q", c.Serial)
		}
		revoked = append(revoked, certs.Revoked{Serial: serial, At: c.Withdrawn})
	}
	return revoked, nil
}

// revocationList is the list of one authority, which may not be known any more.
func revocationList(o *opened, revoked []certs.Revoked, w *policy.Withdrawals) ([]byte, error) {
	if o == nil {
		return nil, errors.New("its key is not there any more")
	}
	by, ok := o.Authority.(authority.Revoker)
	if !ok {
		return nil, certs.ErrNoCRL
	}
	return by.RevocationList(revoked, w.Version, w.ModificationTime)
}

// unlisted is until when certificates live that are on a list now, and would be good again if the authority were trusted,
// which cannot sign one; zero if there are none.
func (m *meshIndex) unlisted(o *opened, now time.Time) (until time.Time, why error) {
	if w := m.withdrawnBy(); w == nil || w.CRL == "" {
		return time.Time{}, nil
	}
	if _, why = revocationList(o, nil, m.withdrawals); why == nil {
		return time.Time{}, nil
	}
	for _, c := range m.withdrawals.Certificates {
		if c.NotAfter.After(now) && c.NotAfter.After(until) {
			until = c.NotAfter
		}
	}
	return until, why
}
