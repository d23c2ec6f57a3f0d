// Package cp is the control plane: it keeps what operators write, lets in the proxies that prove who they are, and gives
// each what it should have.
//
// What changes in the store wakes the reconciler, which offers each session its view of the mesh; the session's own
// goroutine makes Envoy's resources and certificates from that and the stream carries them. Nothing else holds state: a
// control plane that is started again on the same store goes on where it was.
package cp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"koguma/certs"
	"koguma/cp/api"
	"koguma/cp/registry"
	"koguma/cp/settings"
	"koguma/gui"
	"koguma/store"
	"koguma/token"
	"koguma/xds"
)

// ControlPlane is one control plane process.
type ControlPlane struct {
	cfg       settings.Config
	log       *slog.Logger
	id        string
	listening chan struct{}
	addrs     Addrs
	ready     atomic.Bool
	store     store.Store // given by a test; nil: that of the configuration
	terms     terms
}

// Addrs are where a control plane listens.
type Addrs struct {
	API, DP, Admin, Diagnostics net.Addr
	HTTPS, AdminPublic          net.Addr // nil where they are not asked for
	InterCP                     net.Addr // nil where the store is not shared
}

// New checks the configuration, and opens nothing.
func New(cfg settings.Config) (*ControlPlane, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &ControlPlane{cfg: cfg, log: cfg.Logger(), id: token.NewID(), listening: make(chan struct{}), terms: usualTerms()}, nil
}

// Addrs is where the control plane listens; it blocks until it does, or the context ends.
func (c *ControlPlane) Addrs(ctx context.Context) (Addrs, error) {
	select {
	case <-c.listening:
		return c.addrs, nil
	case <-ctx.Done():
		return Addrs{}, ctx.Err()
	}
}

// Run serves until the context ends. It returns when all that it started has ended, nil if the context is why.
func (c *ControlPlane) Run(ctx context.Context) (err error) {
	s, err := c.openStore(ctx)
	if ctx.Err() != nil && err != nil {
		return nil // while it waited for the store
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := c.resources(s).CreateDefaults(ctx, c.cfg.Defaults); err != nil {
		return fmt.Errorf("the defaults cannot be made: %w", err)
	}
	ca, err := registry.LoadCPAuthority(ctx, s)
	if err != nil {
		return err
	}
	certFile, keyFile := c.cfg.TLSPair()
	cert, err := newServerCert(ca, certFile, keyFile, c.cfg.General.AdvertisedHostname)
	if err != nil {
		return err
	}
	if err := c.publishCA(ca); err != nil {
		return err
	}
	for _, warning := range c.cfg.Warnings() {
		c.log.Warn(warning)
	}
	m := newMetrics()
	keys := c.keyring()
	r := newReconciler(s, keys, m, c.log, c.cfg.XDSServer.DataplaneDeregistrationDelay.Std())
	r.roll.self = c.id
	m.registry.MustRegister(expiries{cert, r}, laggards{r}, storeUp(s))
	static := &publicKeys{keys: keys, changed: r.judgeTokens, metrics: m, log: c.log}
	if err := static.load(c.cfg.DPServer.Authn.DPProxy.DPToken.Validator.PublicKeys); err != nil {
		return err
	}
	var p *peers
	if c.cfg.Store.Shared() || c.store != nil {
		p = newPeers(c.id, s, ca, r, m, c.log, c.terms)
		p.dir = c.cfg.General.WorkDir
		r.peered = p.see
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return r.run(running) })
	g.Go(func() error { return static.run(running) })
	g.Go(func() error {
		select {
		case <-r.synced: // nobody is judged by half of the store
			return c.serve(running, s, r, p, cert, m)
		case <-running.Done():
			return nil
		}
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// serve listens, and serves until the context ends. p is nil where the store is not shared.
func (c *ControlPlane) serve(ctx context.Context, s store.Store, r *reconciler, p *peers, cert *serverCert, m *metrics) error {
	if p != nil {
		if err := p.open(ctx, c.cfg.InterCP); err != nil {
			return err
		}
		defer p.close()
	}
	dp, err := listen(c.cfg.DPServer.Interface, c.cfg.DPServer.Port, "dpServer.port (KUMA_DP_SERVER_PORT)")
	if err != nil {
		return err
	}
	defer dp.Close()
	diagnostics, err := listen(c.cfg.Diagnostics.Interface, c.cfg.Diagnostics.ServerPort, "diagnostics.serverPort (KUMA_DIAGNOSTICS_SERVER_PORT)")
	if err != nil {
		return err
	}
	defer diagnostics.Close()
	refusals := newRefusals(m, c.log)
	a := &api.API{
		Config: c.cfg, Shown: shown(c.cfg), Registry: c.resources(s), Issuer: tokens{registry.Registry{Store: s}, cert.pin(), m.tokens},
		Rotator: r.rotations, Fleet: &fleet{r, p}, Log: c.log, InstanceID: c.id, Version: Version(), DPPort: portOf(dp.Addr()),
		Strangers: &api.Strangers{Count: m.strangers}, Refused: refusals.recent.newest,
	}
	a.GUI = gui.New(a, c.log)
	servers := c.apiServers(a)
	defer closeAPI(servers)
	if err := c.openAPI(servers, cert, m); err != nil {
		return err
	}
	c.addrs.DP, c.addrs.Diagnostics = dp.Addr(), diagnostics.Addr()
	a.AdminPort, a.PublicPort = portOf(c.addrs.Admin), portOf(c.addrs.AdminPublic)
	g, ctx := errgroup.WithContext(ctx)
	c.serveAPI(ctx, g, a, servers)
	if p != nil {
		c.addrs.InterCP = p.listener.Addr()
		g.Go(func() error { return p.run(ctx) })
	}
	ads := xds.NewServer(&acceptor{
		store: s, verifier: r.keys.verifier(), open: r.keys.open, reconciler: r, builder: &xds.Builder{},
		metrics: m, refusals: refusals, log: c.log, instanceID: c.id,
	})
	bootstrap := &bootstrapper{
		cfg: c.cfg.BootstrapServer.Params, store: s, verifier: r.keys.verifier(), open: r.keys.open, cert: cert,
		port: portOf(dp.Addr()), refusals: refusals,
	}
	g.Go(func() error { return newDPServer(dp, cert, ads, bootstrap, c.log).run(ctx) })
	serveHTTP(ctx, g, diagnostics, api.NewHTTPServer(newDiagnostics(func() error { return c.readiness(s) }, c.cfg.Warnings(), m.handler()), c.log))
	c.ready.Store(true)
	close(c.listening)
	c.log.Info("the control plane is up", "api", c.addrs.API, "dp", c.addrs.DP, "diagnostics", c.addrs.Diagnostics, "admin", c.addrs.Admin)
	return g.Wait()
}

// readiness is whether the control plane takes proxies and requests.
func (c *ControlPlane) readiness(s store.Store) error {
	switch {
	case !c.ready.Load():
		return errors.New("starting")
	case s.Fault() != nil: // which says more than is for everybody
		return errors.New("the store does not answer: proxies are served from memory, and no change is taken")
	}
	return nil
}

// resources are what operators write. Their meshes get a key if tokens are issued here.
func (c *ControlPlane) resources(s store.Store) registry.Registry {
	issues, _ := c.cfg.Issues()
	return registry.Registry{Store: s, Offline: !issues}
}

// keyring is for the keys that the configuration allows, and empty.
func (c *ControlPlane) keyring() *keyring {
	k := newKeyring(c.cfg.DPServer.Authn.DPProxy.DPToken.Validator.UseSecrets)
	k.open = c.cfg.AuthnType() == settings.AuthnNone
	return k
}

// openStore opens the store that the configuration names, unless there is one.
func (c *ControlPlane) openStore(ctx context.Context) (store.Store, error) {
	if c.store != nil {
		return c.store, nil
	}
	return c.cfg.OpenSealedStore(ctx)
}

// publishCA writes the certificate of the CA behind the control plane's own into the work directory, for those who dial
// it with other tools than the agent: curl --cacert, or an Envoy without an agent.
func (c *ControlPlane) publishCA(ca *certs.CA) error {
	dir := c.cfg.General.WorkDir
	if c.cfg.Store.Type == settings.StoreMemory || dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, "kuma-cp-ca.crt")
	if err := os.WriteFile(path, ca.CertPEM(), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // it is no secret, whatever the umask
}
