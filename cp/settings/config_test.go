package settings_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/cp/settings"
	"koguma/token"
)

// writeConfig is the path of a file with this in it.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kuma-cp.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := settings.Load("", []string{"HOME=/home/me", "PATH=/bin", "KUMA_DATAPLANE_NAME=x", "KUMA_CONTROL_PLANE_URL=x", "KUMA_DNS_ENABLED=false"})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Default()
	want.DPServer.Authn.DPProxy.Type = settings.AuthnDPToken
	want.General.WorkDir, want.Store.File.Path = "/home/me/.kuma", "/home/me/.kuma/koguma.db"
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if c.APIServer.HTTP.Interface != "127.0.0.1" || c.APIServer.HTTP.Port != 5681 || c.DPServer.Port != 5678 || c.Diagnostics.ServerPort != 5680 ||
		c.Store.Type != settings.StoreFile || c.XDSServer.DataplaneDeregistrationDelay.Std() != 10*time.Second {
		t.Errorf("got %+v", c)
	}
}

// The environment goes over the file, which goes over the defaults.
func TestConfigPrecedence(t *testing.T) {
	t.Parallel()
	file := writeConfig(t, `
mode: standalone
store:
  type: memory
apiServer:
  http: {port: 1, interface: 0.0.0.0}
  readOnly: true
xdsServer:
  dataplaneDeregistrationDelay: 1m
`)
	c, err := settings.Load(file, []string{"KUMA_API_SERVER_HTTP_PORT=2", "KUMA_API_SERVER_READ_ONLY=", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY=3s", "KUMA_DEFAULTS_SKIP_MESH_CREATION=true"})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Default()
	want.Mode, want.Store.Type = "standalone", settings.StoreMemory
	want.DPServer.Authn.DPProxy.Type = settings.AuthnDPToken
	want.APIServer.HTTP.Interface, want.APIServer.HTTP.Port, want.APIServer.ReadOnly = "0.0.0.0", 2, true
	want.XDSServer.DataplaneDeregistrationDelay = 3e9
	want.Defaults.SkipMeshCreation = true
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

// Every setting that is no list has a variable, and no two have the same.
func TestEverySettingHasAVariable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range settings.Variables() {
		if strings.Contains(v.Path, "[]") {
			continue // lists are for the file
		}
		if v.Name == "" || seen[v.Name] {
			t.Errorf("%s has the variable %q", v.Path, v.Name)
		}
		seen[v.Name] = true
		if _, err := settings.Load("", []string{"HOME=/h", "KUMA_STORE_TYPE=memory", v.Name + "X=1"}); err == nil || !strings.Contains(err.Error(), v.Name+"X: no such setting") {
			t.Errorf("%sX is accepted: %v", v.Name, err)
		}
	}
}

// What cannot be read or obeyed is an error that names it.
func TestConfigRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, env, want string }{
		{"stroe: {}", "", `line 1, column 1: unknown field "stroe"`},
		{"mode: zone\napiServer:\n  http:\n    prot: 1", "", `line 4, column 5: apiServer.http: unknown field "prot"`},
		{"mode: zone\nmode: zone", "", "twice"},
		{"mode: zone\n---\nmode: zone", "", "second document"},
		{"apiServer: {http: {port: '80'}}", "", "apiServer.http.port"},
		{"log: x", "", "unknown field"},
		{"mode: global", "", "mode"},
		{"environment: kubernetes", "", "environment"},
		{"store: {type: etcd}", "", "store.type"},
		{"general: {tlsCertFile: x}", "", "general: tlsCertFile and tlsKeyFile go together"},
		{"dpServer: {tlsKeyFile: x}", "", "dpServer: tlsCertFile and tlsKeyFile go together"},
		{"dpServer: {authn: {dpProxy: {type: magic}}}", "", "dpServer.authn.dpProxy.type"},
		{"dpServer: {auth: {type: serviceAccountToken}}", "", "dpServer.auth.type"},
		{"dpServer: {authn: {dpProxy: {type: none}}, auth: {type: dpToken}}", "", "dpServer.authn.dpProxy.type is none, and its old name dpServer.auth.type says dpToken"},
		{"dpServer: {authn: {dpProxy: {type: none}}}", "KUMA_DP_SERVER_AUTH_TYPE=dpToken", "dpServer.auth.type says dpToken"},
		{"dpServer: {authn: {dpProxy: {type: dpToken}}}", "KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED=false",
			"dpServer.authn.dpProxy.type is dpToken, and adminServer.apis.dataplaneToken.enabled is false"},
		{"adminServer: {apis: {dataplaneToken: {enabled: false}}}", "KUMA_DP_SERVER_AUTH_TYPE=dpToken",
			"dpServer.auth.type is dpToken, and adminServer.apis.dataplaneToken.enabled is false"},
		{"adminServer: {local: {port: 70000}}", "", "adminServer.local.port"},
		{"dpServer: {interface: localhost}", "", "dpServer.interface"},
		{"apiServer: {http: {interface: ''}}", "", "apiServer.http.interface"},
		{"diagnostics: {serverPort: 65536}", "", "diagnostics.serverPort"},
		{"bootstrapServer: {params: {xdsPort: -1}}", "", "bootstrapServer.params.xdsPort"},
		{"xdsServer: {dataplaneDeregistrationDelay: 10}", "", "xdsServer.dataplaneDeregistrationDelay"},
		{"", "KUMA_API_SERVER_HTTP_PORT=5681x", `KUMA_API_SERVER_HTTP_PORT: "5681x" is no whole number`},
		{"", "KUMA_API_SERVER_HTTP_ENABLED=maybe", "KUMA_API_SERVER_HTTP_ENABLED"},
		{"", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY=-1s", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY"},
		{"", "KUMA_STORE_PATH=x", "use one of KUMA_STORE_TYPE, KUMA_STORE_FILE_PATH"},
		{"", "KUMA_DP_SERVER_AUTH_KIND=none", "KUMA_DP_SERVER_AUTH_KIND: no such setting"},
		{"", "KUMA_MODE=global", "mode"},
	} {
		file := ""
		if c.file != "" {
			file = writeConfig(t, c.file)
		}
		_, err := settings.Load(file, []string{"HOME=/home/me", c.env})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s%s: %v, want one line with %q", c.file, c.env, err, c.want)
		}
	}
	if _, err := settings.Load("", nil); err == nil || !strings.Contains(err.Error(), "set KUMA_GENERAL_WORK_DIR") {
		t.Errorf("no HOME: %v", err)
	}
	if _, err := settings.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("no file: %v", err)
	}
}

// publicKeys is a file with these entries of publicKeys, in YAML.
func publicKeys(t *testing.T, entries ...string) string {
	t.Helper()
	text := "dpServer:\n  authn:\n    dpProxy:\n      type: dpToken\n      dpToken:\n        enableIssuer: false\n" +
		"        validator:\n          useSecrets: false\n          publicKeys:\n"
	for _, e := range entries {
		text += "          - " + e + "\n"
	}
	return writeConfig(t, text)
}

// The settings of offline issuing are as Kuma has them, with PKCS#1 and PKIX keys.
func TestConfigPublicKeys(t *testing.T) {
	t.Parallel()
	pkcs1, pkix, _ := keyPEM(t)
	block := func(pem string) string {
		return "|\n              " + strings.ReplaceAll(pem, "\n", "\n              ")
	}
	c, err := settings.Load(publicKeys(t,
		"kid: \"key-1\"\n            mesh: default\n            key: "+block(pkcs1),
		"kid: key-1\n            key: "+block(pkix),
		"{kid: key-2, mesh: default, keyFile: /k.pem}",
	), []string{"HOME=/h", "KUMA_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_VALIDATOR_USE_SECRETS=true"})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.DPTokenConf{Validator: settings.DPTokenValidatorConf{UseSecrets: true, PublicKeys: []settings.PublicKeyConf{
		{KID: "key-1", Mesh: "default", Key: pkcs1}, {KID: "key-1", Key: pkix}, {KID: "key-2", Mesh: "default", KeyFile: "/k.pem"},
	}}}
	got := c.DPServer.Authn.DPProxy.DPToken
	for i := range got.Validator.PublicKeys {
		got.Validator.PublicKeys[i].Key = strings.TrimLeft(got.Validator.PublicKeys[i].Key, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A public key that cannot be used is named by its place, and nothing of it is said.
func TestConfigPublicKeyRefusals(t *testing.T) {
	t.Parallel()
	const place = "dpServer.authn.dpProxy.dpToken.validator.publicKeys"
	pkcs1, _, key := keyPEM(t)
	quoted, private := strconv.Quote(pkcs1), strconv.Quote(key)
	good := "{kid: a, mesh: default, key: " + quoted + "}"
	for want, entry := range map[string]string{
		"[1].kid: must be 1 to 64":                                           "{key: " + quoted + "}",
		"[1].kid: must be 1 to 64 letters":                                   "{kid: ../a, key: " + quoted + "}",
		"[1].kid: " + place + "[0] has the same kid \"a\" for the same mesh": good,
		"[1].mesh: ":                                 "{kid: b, mesh: A_b, key: " + quoted + "}",
		"[1].key: missing":                           "{kid: b}",
		"[1].key: there is a keyFile as well":        "{kid: b, keyFile: /k, key: " + quoted + "}",
		"[1].key: public key: it is the private one": "{kid: b, key: " + private + "}",
		"[1].key: public key: it is not PEM":         "{kid: b, key: canary}",
		`publicKeys[1]: unknown field "keyfile"`:     "{kid: b, keyfile: /k}",
	} {
		_, err := settings.Load(publicKeys(t, good, entry), []string{"HOME=/h"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), place+"[1]") || strings.Contains(err.Error(), "canary") ||
			strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "MII") {
			t.Errorf("%v, want one line with %q", err, want)
		}
	}
}

// All the ways to turn authentication off do, and are shown in the one way there is now.
func TestConfigWithoutAuthentication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, env, want string }{
		{"", "", settings.AuthnDPToken},
		{"", "KUMA_DP_SERVER_AUTH_TYPE=none", settings.AuthnNone},
		{"", "KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE=none", settings.AuthnNone},
		{"", "KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED=false", settings.AuthnNone},
		{"dpServer: {authn: {dpProxy: {type: none}}}", "KUMA_DP_SERVER_AUTH_TYPE=none", settings.AuthnNone},
		{"dpServer: {auth: {type: none}}", "", settings.AuthnNone},
		{"dpServer: {auth: {type: none}}", "KUMA_DP_SERVER_AUTH_TYPE=dpToken", settings.AuthnDPToken},
		{"adminServer: {apis: {dataplaneToken: {enabled: false}}}", "", settings.AuthnNone},
		{"adminServer: {apis: {dataplaneToken: {enabled: false}}}", "KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED=true", settings.AuthnDPToken},
		{"dpServer: {auth: {enableReloadableTokens: true}, authn: {enableReloadableTokens: true}}",
			"KUMA_DP_SERVER_AUTH_USE_TOKEN_PATH=true", settings.AuthnDPToken},
	} {
		got, err := settings.Load(writeConfig(t, c.file+"\nmode: zone"), []string{"HOME=/h", c.env})
		if err != nil || got.DPServer.Authn.DPProxy.Type != c.want {
			t.Errorf("%s %s: %q, %v; want %s", c.file, c.env, got.DPServer.Authn.DPProxy.Type, err, c.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s %s: what was loaded is refused: %v", c.file, c.env, err)
		}
	}
}

func TestTLSPair(t *testing.T) {
	t.Parallel()
	c := settings.Default()
	c.General.TLSCertFile, c.General.TLSKeyFile = "a", "b"
	if cert, key := c.TLSPair(); cert != "a" || key != "b" {
		t.Errorf("got %s, %s", cert, key)
	}
	c.DPServer.TLSCertFile, c.DPServer.TLSKeyFile = "c", "d"
	if cert, key := c.TLSPair(); cert != "c" || key != "d" {
		t.Errorf("got %s, %s", cert, key)
	}
}

// keyPEM is a public key in both of the forms that there are, and the private one.
func keyPEM(t *testing.T) (pkcs1, pkix, private string) {
	t.Helper()
	data, err := token.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pkix = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return string(token.EncodePublicKey(&key.PublicKey)), pkix, string(data)
}
