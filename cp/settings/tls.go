package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// HTTPSConfig is for the API under TLS.
type HTTPSConfig struct {
	Enabled   bool   `json:"enabled" env:"KUMA_API_SERVER_HTTPS_ENABLED"`
	Interface string `json:"interface" env:"KUMA_API_SERVER_HTTPS_INTERFACE"`
	Port      int    `json:"port" env:"KUMA_API_SERVER_HTTPS_PORT"`
	// TLSCertFile and TLSKeyFile replace those of GeneralConfig.
	TLSCertFile string `json:"tlsCertFile" env:"KUMA_API_SERVER_HTTPS_TLS_CERT_FILE"`
	TLSKeyFile  string `json:"tlsKeyFile" env:"KUMA_API_SERVER_HTTPS_TLS_KEY_FILE"`
	// TLSCAFile has the CAs of administrators' certificates, beside those in APIServerAuthConfig.
	TLSCAFile string `json:"tlsCaFile" env:"KUMA_API_SERVER_HTTPS_TLS_CA_FILE"`
	// RequireClientCert lets nobody else in. Without it others may read what is no secret.
	RequireClientCert bool `json:"requireClientCert" env:"KUMA_API_SERVER_HTTPS_REQUIRE_CLIENT_CERT"`
}

// APIServerAuthConfig says by which certificates administrators are known.
type APIServerAuthConfig struct {
	// ClientCertsDir is a folder of .pem and .crt files: certificates of administrators, or of CAs that make them.
	ClientCertsDir string `json:"clientCertsDir" env:"KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR"`
}

// AuthnClientCerts is the one way in which administrators of other machines prove who they are.
const AuthnClientCerts = "adminClientCerts"

// APIServerAuthnConfig says who is an administrator.
type APIServerAuthnConfig struct {
	// Type is AuthnClientCerts.
	Type string `json:"type" env:"KUMA_API_SERVER_AUTHN_TYPE"`
	// LocalhostIsAdmin takes whoever connects from this machine for an administrator.
	LocalhostIsAdmin bool `json:"localhostIsAdmin" env:"KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN"`
}

// AdminPublicConfig is for the admin server that other machines reach: TLS, and a client certificate is required.
type AdminPublicConfig struct {
	Enabled   bool   `json:"enabled" env:"KUMA_ADMIN_SERVER_PUBLIC_ENABLED"`
	Interface string `json:"interface" env:"KUMA_ADMIN_SERVER_PUBLIC_INTERFACE"`
	// Port 0 is that of AdminLocalConfig.
	Port        int    `json:"port" env:"KUMA_ADMIN_SERVER_PUBLIC_PORT"`
	TLSCertFile string `json:"tlsCertFile" env:"KUMA_ADMIN_SERVER_PUBLIC_TLS_CERT_FILE"`
	TLSKeyFile  string `json:"tlsKeyFile" env:"KUMA_ADMIN_SERVER_PUBLIC_TLS_KEY_FILE"`
	// ClientCertsDir is a folder of .pem files: certificates of administrators, or of CAs that make them.
	ClientCertsDir string `json:"clientCertsDir" env:"KUMA_ADMIN_SERVER_PUBLIC_CLIENT_CERTS_DIR"`
}

// AdminHost is where the local admin server listens: whoever reaches it is on this machine.
const AdminHost = "127.0.0.1"

// validateRemote reports the first setting about access from other machines that cannot be obeyed.
func (c *Config) validateRemote() error {
	return cmp.Or(c.APIServer.validate(), c.validatePublic())
}

func (c *APIServerConfig) validate() error {
	h := &c.HTTPS
	switch c.Authn.Type {
	case AuthnClientCerts, "clientCerts":
	case "tokens":
		return errors.New("apiServer.authn.type: tokens of users are not built in; use " + AuthnClientCerts)
	default:
		return fmt.Errorf("apiServer.authn.type: %q is not known; use %s", c.Authn.Type, AuthnClientCerts)
	}
	if !h.Enabled {
		return unusedWithout("apiServer.https.enabled", map[string]string{
			"apiServer.https.tlsCertFile": h.TLSCertFile, "apiServer.https.tlsKeyFile": h.TLSKeyFile,
			"apiServer.https.tlsCaFile": h.TLSCAFile, "apiServer.auth.clientCertsDir": c.Auth.ClientCertsDir,
		})
	}
	switch {
	case (h.TLSCertFile == "") != (h.TLSKeyFile == ""):
		return errors.New("apiServer.https: tlsCertFile and tlsKeyFile go together; set both or neither")
	case h.RequireClientCert && h.TLSCAFile == "" && c.Auth.ClientCertsDir == "":
		return errors.New("apiServer.https.requireClientCert: nobody could come in; set apiServer.auth.clientCertsDir or apiServer.https.tlsCaFile")
	}
	return validAddress("apiServer.https", "port", h.Interface, h.Port)
}

func (c *Config) validatePublic() error {
	p := &c.AdminServer.Public
	files := map[string]string{
		"adminServer.public.tlsCertFile": p.TLSCertFile, "adminServer.public.tlsKeyFile": p.TLSKeyFile,
		"adminServer.public.clientCertsDir": p.ClientCertsDir,
	}
	if !p.Enabled {
		return unusedWithout("adminServer.public.enabled", files)
	}
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if files[key] == "" {
			return errors.New(key + ": missing; adminServer.public.enabled needs it")
		}
	}
	if err := validAddress("adminServer.public", "port", p.Interface, p.Port); err != nil {
		return err
	}
	if !Unspecified(p.Interface) {
		return nil
	}
	switch {
	case p.Port == 0 || p.Port == c.AdminServer.Local.Port:
		return fmt.Errorf("adminServer.public.interface: %s takes in %s, where the port is taken by adminServer.local; give an address, or another port", p.Interface, AdminHost)
	case c.APIServer.HTTP.Enabled && !Unspecified(c.APIServer.HTTP.Interface):
		return fmt.Errorf("adminServer.public.interface: %s needs apiServer.http.interface to be %s as well, for clients ask the API where the admin server is; "+
			"or give an address", p.Interface, p.Interface)
	}
	return nil
}

// unusedWithout reports a setting that has no effect because a switch is off.
func unusedWithout(enabled string, settings map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if settings[key] != "" {
			return fmt.Errorf("%s is set, and %s is false, so it has no effect; set %s to true", key, enabled, enabled)
		}
	}
	return nil
}

// Unspecified reports whether an interface stands for all of them.
func Unspecified(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsUnspecified()
}
