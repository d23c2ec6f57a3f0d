package cp

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"io"
	"log/slog"
	"time"

	"koguma/certs"
	"koguma/policy"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// Core is what serves proxies, without the servers.
type Core struct {
	xds.Acceptor
	reconciler *reconciler
}

// NewCore is a core over a store, which takes tokens by these keys. Nobody is given anything until it runs.
func NewCore(s store.Store, k token.Keys, delay time.Duration, log *slog.Logger) *Core {
	m := newMetrics()
	r := newReconciler(s, newKeyring(true), m, log, delay)
	return &Core{&acceptor{
		store: s, verifier: token.Verifier{Keys: k}, builder: &xds.Builder{}, metrics: m, refusals: newRefusals(m, log), log: log, reconciler: r,
	}, r}
}

// Run reconciles until the context ends.
func (c *Core) Run(ctx context.Context) error { return c.reconciler.run(ctx) }

// Insight is what was seen of a proxy.
func (c *Core) Insight(key policy.Key) policy.DataplaneInsight { return c.reconciler.Insight(key) }

// RestartGrace is restartGrace.
const RestartGrace = restartGrace

// Index is an index on its own.
type Index struct{ index *index }

// NewIndex is an empty index.
func NewIndex() Index { return Index{newIndex()} }

// Apply takes in what became of a resource; nil is that it is gone.
func (x Index) Apply(key policy.Key, r policy.Resource) (mayWait bool) {
	return x.index.apply(store.Event{Key: key, Resource: r})
}

// View is the view of a Dataplane in the index, and whether there is a CA.
func (x Index) View(mesh, name string) (view *xds.View, ca bool, err error) {
	m := x.index.at(mesh)
	v, auth, err := m.view(m.dataplanes[name])
	return v, auth != nil, err
}

// Keyring is a keyring on its own.
type Keyring struct{ *keyring }

// NewKeyring is an empty keyring.
func NewKeyring() Keyring { return Keyring{newKeyring(true)} }

// NewStaticKeyring is an empty keyring, which takes keys of secrets or does not.
func NewStaticKeyring(useSecrets bool) Keyring { return Keyring{newKeyring(useSecrets)} }

// SetStatic is setStatic.
func (k Keyring) SetStatic(mesh, kid string, key *rsa.PublicKey) bool {
	return k.setStatic(mesh, kid, key)
}

// Apply takes in what became of a secret.
func (k Keyring) Apply(key policy.Key, r policy.Resource) error {
	_, err := k.apply(store.Event{Key: key, Resource: r})
	return err
}

// Revoked is isRevoked.
func (k Keyring) Revoked(mesh, id string) bool { return k.isRevoked(mesh, id) }

// ServerCert is the certificate of a DP server.
type ServerCert struct{ cert *serverCert }

// NewServerCert is newServerCert.
func NewServerCert(ca *certs.CA, certFile, keyFile, advertised string) (ServerCert, error) {
	c, err := newServerCert(ca, certFile, keyFile, advertised)
	return ServerCert{c}, err
}

// Certifiable is certifiable.
func Certifiable(host string) bool { return certifiable(host) }

// Get is the certificate to show now.
func (c ServerCert) Get() (*tls.Certificate, error) { return c.cert.get(nil) }

// Root is the certificate that it is verified with, and the name to expect.
func (c ServerCert) Root() (pem []byte, name string, err error) { return c.cert.root() }

// Pin is the pin that tokens carry.
func (c ServerCert) Pin() string { return c.cert.pin() }

// Refusals are refusals on their own.
type Refusals struct{ refusals *refusals }

// NewRefusals is newRefusals, with a log in that place.
func NewRefusals(log io.Writer) Refusals {
	return Refusals{newRefusals(newMetrics(), slog.New(slog.NewTextHandler(log, nil)))}
}

// Add takes in that a peer was refused.
func (r Refusals) Add(peer string) { r.refusals.add("connect", peer, "", "missing", token.ErrNoKey) }

// Peers is how many peers are remembered.
func (r Refusals) Peers() int { return r.refusals.Peers() }
