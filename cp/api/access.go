package api

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"koguma/certs"
)

// access says who may use a route. The zero value lets nobody in, so a route that forgot to say is closed.
type access int

const (
	nobody access = iota
	everybody
	administrators
	administratorsUnaudited // for reading what is not secret
)

// caller is who sent a request.
type caller struct {
	name        string
	admin       bool
	certificate *x509.Certificate // by which we know who it is; nil if there is none
}

// The names of callers, as people know them from Kuma's access lists.
const (
	adminName     = "mesh-system:admin"
	anonymousName = "mesh-system:anonymous"
)

// allows reports whether the caller may.
func (a access) allows(c caller) bool {
	return a == everybody || (a == administrators || a == administratorsUnaudited) && c.admin
}

// identify finds out who sent a request. Whoever runs on this machine and talks to us directly is an administrator,
// unless the request may be one that a web page made the administrator's browser send, or one that a proxy on this
// machine passed on. So is who has a client certificate that the server has verified: servers verify those of
// administrators and no others. Everybody else is anonymous.
func (a *API) identify(r *http.Request) caller {
	switch {
	case crossSite(r):
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		return caller{name: adminName, admin: true, certificate: r.TLS.PeerCertificates[0]}
	case a.Config.APIServer.Authn.LocalhostIsAdmin && fromLoopback(r) && !forwarded(r) && loopbackHost(r.Host):
		return caller{name: adminName, admin: true}
	}
	return caller{name: anonymousName}
}

// audit is what the audit log has of the certificate.
func (c caller) audit() []any {
	if c.certificate == nil {
		return nil
	}
	names := slices.Concat([]string{c.certificate.Subject.String()}, c.certificate.DNSNames, c.certificate.EmailAddresses)
	for _, ip := range c.certificate.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.certificate.URIs {
		names = append(names, u.String())
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	return []any{"certificate", strings.Join(names, " "), "fingerprint", certs.Fingerprint(c.certificate)}
}

func fromLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

func forwarded(r *http.Request) bool {
	for _, h := range [...]string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if _, ok := r.Header[h]; ok {
			return true
		}
	}
	return false
}

// loopbackHost guards against a name that a web page's owner makes point to this machine.
func loopbackHost(hostport string) bool {
	host := HostOnly(hostport)
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// crossSite reports whether a browser says, or does not rule out, that a page of another site is behind the request.
func crossSite(r *http.Request) bool {
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "" && site != "same-origin" && site != "none" {
			return true
		}
	}
	own := "http://" + r.Host
	if r.TLS != nil {
		own = "https://" + r.Host
	}
	for _, origin := range r.Header["Origin"] {
		if origin != own {
			return true
		}
	}
	return false
}

// HostOnly is the host of a "host:port", where the port may be missing.
func HostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}
