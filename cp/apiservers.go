package cp

import (
	"cmp"
	"context"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"koguma/cp/api"
	"koguma/cp/settings"
)

// apiServer is one of the ports at which the API, or a part of it, is to be had.
type apiServer struct {
	host    string
	port    int
	setting string    // that the port comes from
	addr    *net.Addr // where to note where it listens; may be nil
	routes  []api.Route
	tls     *tlsConf // nil is plain HTTP

	listener net.Listener
	files    *tlsFiles
}

// apiServers are the ports that the configuration asks for.
func (c *ControlPlane) apiServers(a *api.API) []*apiServer {
	local, public, http, https := c.cfg.AdminServer.Local, c.cfg.AdminServer.Public, c.cfg.APIServer.HTTP, c.cfg.APIServer.HTTPS
	const portSetting = "apiServer.http.port (KUMA_API_SERVER_HTTP_PORT)"
	all := []*apiServer{{
		host: settings.AdminHost, port: local.Port, setting: "adminServer.local.port (KUMA_ADMIN_SERVER_LOCAL_PORT)",
		addr: &c.addrs.Admin, routes: a.AdminRoutes(),
	}}
	if http.Enabled {
		all = append(all, &apiServer{host: http.Interface, port: http.Port, setting: portSetting, addr: &c.addrs.API, routes: a.Routes()})
	}
	if https.Enabled {
		all = append(all, &apiServer{
			host: https.Interface, port: https.Port, setting: "apiServer.https.port (KUMA_API_SERVER_HTTPS_PORT)",
			addr: &c.addrs.HTTPS, routes: a.Routes(), tls: httpsConf(&c.cfg),
		})
	}
	if public.Enabled {
		all = append(all, &apiServer{
			host: public.Interface, port: cmp.Or(public.Port, local.Port), setting: "adminServer.public.port (KUMA_ADMIN_SERVER_PUBLIC_PORT)",
			addr: &c.addrs.AdminPublic, routes: a.PublicAdminRoutes(),
			tls: &tlsConf{
				section: "adminServer.public", certFile: public.TLSCertFile, keyFile: public.TLSKeyFile,
				clientDir: public.ClientCertsDir, suffixes: []string{".pem"}, required: true,
			},
		})
	}
	// Clients of the admin server ask the API where it is.
	if public.Enabled && http.Enabled && http.Interface != public.Interface && !settings.Unspecified(http.Interface) {
		all = append(all, &apiServer{host: public.Interface, port: http.Port, setting: portSetting, routes: a.DiscoveryRoutes()})
	}
	return all
}

// httpsConf is what the API shows under TLS.
func httpsConf(c *settings.Config) *tlsConf {
	h := c.APIServer.HTTPS
	conf := &tlsConf{
		section: "apiServer.https", certFile: h.TLSCertFile, keyFile: h.TLSKeyFile,
		clientDir: c.APIServer.Auth.ClientCertsDir, suffixes: []string{".pem", ".crt"}, clientFile: h.TLSCAFile, required: h.RequireClientCert,
	}
	if conf.certFile == "" {
		conf.certFile, conf.keyFile = c.General.TLSCertFile, c.General.TLSKeyFile
	}
	return conf
}

// openAPI listens at all ports of the API, before the first of them serves: the catalog names the others. The caller
// closes the listeners, also after an error.
func (c *ControlPlane) openAPI(servers []*apiServer, cert *serverCert, m *metrics) error {
	for _, s := range servers {
		if s.tls != nil {
			var err error
			if s.files, err = newTLSFiles(*s.tls, cert, m, c.log); err != nil {
				return err
			}
		}
		l, err := listen(s.host, s.port, s.setting)
		if err != nil {
			return err
		}
		s.listener = l
		if s.addr != nil {
			*s.addr = l.Addr()
		}
	}
	return nil
}

func closeAPI(servers []*apiServer) {
	for _, s := range servers {
		if s.listener != nil {
			s.listener.Close()
		}
	}
}

// serveAPI serves within the group until the context ends.
func (c *ControlPlane) serveAPI(ctx context.Context, g *errgroup.Group, a *api.API, servers []*apiServer) {
	for _, s := range servers {
		server, l := api.NewHTTPServer(a.Handler(s.routes), c.log), s.listener
		if s.files != nil {
			c.log.Info("the API is served under TLS", "server", s.tls.section, "address", l.Addr(), "fingerprint", s.files.fingerprint())
			g.Go(func() error { return s.files.run(ctx) })
			l, server.Handler = s.files.listener(l), s.files.handler(server.Handler)
			server.ErrorLog = slog.NewLogLogger(c.log.Handler(), slog.LevelInfo) // who was not let in by which certificate
		}
		serveHTTP(ctx, g, l, server)
	}
}
