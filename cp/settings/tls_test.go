package settings_test

import (
	"slices"
	"strings"
	"testing"

	"koguma/cp/settings"
)

// What cannot be obeyed about access from other machines, or would have no effect, is an error that names it.
func TestConfigRemoteRefusals(t *testing.T) {
	t.Parallel()
	const public = "KUMA_ADMIN_SERVER_PUBLIC_"
	all := slices.Clip([]string{
		public + "ENABLED=true", public + "TLS_CERT_FILE=c", public + "TLS_KEY_FILE=k",
		public + "CLIENT_CERTS_DIR=d", public + "INTERFACE=192.0.2.1",
	})
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(v string) bool { return strings.HasPrefix(v, public+name) })
	}
	if _, err := settings.Load("", append(all, "HOME=/h")); err != nil {
		t.Errorf("the public admin server as it should be: %v", err)
	}
	for want, env := range map[string][]string{
		"adminServer.public.clientCertsDir: missing":                           {public + "ENABLED=true"},
		"adminServer.public.tlsCertFile: missing":                              without("TLS_CERT_FILE"),
		"adminServer.public.tlsKeyFile: missing":                               without("TLS_KEY_FILE"),
		"adminServer.public.interface: \"\" is no IP address":                  without("INTERFACE"),
		"adminServer.public.interface: \"cp.example\" is no":                   append(all, public+"INTERFACE=cp.example"),
		"taken by adminServer.local":                                           append(all, public+"INTERFACE=0.0.0.0"),
		"or another port":                                                      append(all, public+"INTERFACE=::", public+"PORT=5679"),
		"needs apiServer.http.interface":                                       append(all, public+"INTERFACE=0.0.0.0", public+"PORT=5689"),
		"adminServer.public.port: 70000":                                       append(all, public+"PORT=70000"),
		"adminServer.public.tlsCertFile is set, and":                           {public + "TLS_CERT_FILE=c"},
		"apiServer.auth.clientCertsDir is set, and apiServer.https.enabled":    {"KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR=d"},
		"apiServer.https.tlsCaFile is set, and apiServer.https.enabled":        {"KUMA_API_SERVER_HTTPS_TLS_CA_FILE=d"},
		"apiServer.https: tlsCertFile and tlsKeyFile go together":              {"KUMA_API_SERVER_HTTPS_ENABLED=1", "KUMA_API_SERVER_HTTPS_TLS_KEY_FILE=k"},
		"apiServer.https.requireClientCert: nobody":                            {"KUMA_API_SERVER_HTTPS_ENABLED=1", "KUMA_API_SERVER_HTTPS_REQUIRE_CLIENT_CERT=1"},
		"apiServer.https.port: -1":                                             {"KUMA_API_SERVER_HTTPS_ENABLED=1", "KUMA_API_SERVER_HTTPS_PORT=-1"},
		"apiServer.authn.type: tokens of users are not built in":               {"KUMA_API_SERVER_AUTHN_TYPE=tokens"},
		"apiServer.authn.type: \"magic\" is not known; use adminClientCerts":   {"KUMA_API_SERVER_AUTHN_TYPE=magic"},
		"KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN: \"no\" is neither true nor": {"KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=no"},
	} {
		_, err := settings.Load("", append([]string{"HOME=/h"}, env...))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v, want one line with %q", env, err, want)
		}
	}
}
