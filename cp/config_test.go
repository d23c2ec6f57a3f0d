package cp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/cp"
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
	c, err := cp.Load("", []string{"HOME=/home/me", "PATH=/bin", "KUMA_DATAPLANE_NAME=x", "KUMA_CONTROL_PLANE_URL=x", "KUMA_DNS_ENABLED=false"})
	if err != nil {
		t.Fatal(err)
	}
	want := cp.DefaultConfig()
	want.General.WorkDir, want.Store.File.Path = "/home/me/.kuma", "/home/me/.kuma/koguma.db"
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if c.APIServer.HTTP.Interface != "127.0.0.1" || c.APIServer.HTTP.Port != 5681 || c.DPServer.Port != 5678 || c.Diagnostics.ServerPort != 5680 ||
		c.Store.Type != cp.StoreFile || c.XDSServer.DataplaneDeregistrationDelay.Std() != 10*time.Second {
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
	c, err := cp.Load(file, []string{"KUMA_API_SERVER_HTTP_PORT=2", "KUMA_API_SERVER_READ_ONLY=", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY=3s", "KUMA_DEFAULTS_SKIP_MESH_CREATION=true"})
	if err != nil {
		t.Fatal(err)
	}
	want := cp.DefaultConfig()
	want.Mode, want.Store.Type = "standalone", cp.StoreMemory
	want.APIServer.HTTP.Interface, want.APIServer.HTTP.Port, want.APIServer.ReadOnly = "0.0.0.0", 2, true
	want.XDSServer.DataplaneDeregistrationDelay = 3e9
	want.Defaults.SkipMeshCreation = true
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

// Every setting has a variable, and no two have the same.
func TestEverySettingHasAVariable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range cp.Variables() {
		if v.Name == "" || seen[v.Name] {
			t.Errorf("%s has the variable %q", v.Path, v.Name)
		}
		seen[v.Name] = true
		if _, err := cp.Load("", []string{"HOME=/h", "KUMA_STORE_TYPE=memory", v.Name + "X=1"}); err == nil || !strings.Contains(err.Error(), v.Name+"X: no such setting") {
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
		{"store: {type: postgres}", "", "postgres is not built in yet"},
		{"store: {type: etcd}", "", "store.type"},
		{"general: {tlsCertFile: x}", "", "general: tlsCertFile and tlsKeyFile go together"},
		{"dpServer: {tlsKeyFile: x}", "", "dpServer: tlsCertFile and tlsKeyFile go together"},
		{"dpServer: {authn: {dpProxy: {type: none}}}", "", "dpServer.authn.dpProxy.type"},
		{"dpServer: {interface: localhost}", "", "dpServer.interface"},
		{"apiServer: {http: {interface: ''}}", "", "apiServer.http.interface"},
		{"diagnostics: {serverPort: 65536}", "", "diagnostics.serverPort"},
		{"bootstrapServer: {params: {xdsPort: -1}}", "", "bootstrapServer.params.xdsPort"},
		{"xdsServer: {dataplaneDeregistrationDelay: 10}", "", "xdsServer.dataplaneDeregistrationDelay"},
		{"", "KUMA_API_SERVER_HTTP_PORT=5681x", `KUMA_API_SERVER_HTTP_PORT: "5681x" is no whole number`},
		{"", "KUMA_API_SERVER_HTTP_ENABLED=maybe", "KUMA_API_SERVER_HTTP_ENABLED"},
		{"", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY=-1s", "KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY"},
		{"", "KUMA_STORE_PATH=x", "use one of KUMA_STORE_TYPE, KUMA_STORE_FILE_PATH"},
		{"", "KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED=false", "KUMA_ADMIN_SERVER_APIS_DATAPLANE_TOKEN_ENABLED: no such setting; unset it"},
		{"", "KUMA_DP_SERVER_AUTH_TYPE=none", "KUMA_DP_SERVER_AUTH_TYPE: no such setting"},
		{"", "KUMA_MODE=global", "mode"},
	} {
		file := ""
		if c.file != "" {
			file = writeConfig(t, c.file)
		}
		_, err := cp.Load(file, []string{"HOME=/home/me", c.env})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s%s: %v, want one line with %q", c.file, c.env, err, c.want)
		}
	}
	if _, err := cp.Load("", nil); err == nil || !strings.Contains(err.Error(), "set KUMA_GENERAL_WORK_DIR") {
		t.Errorf("no HOME: %v", err)
	}
	if _, err := cp.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("no file: %v", err)
	}
}

func TestTLSPair(t *testing.T) {
	t.Parallel()
	c := cp.DefaultConfig()
	c.General.TLSCertFile, c.General.TLSKeyFile = "a", "b"
	if cert, key := c.TLSPair(); cert != "a" || key != "b" {
		t.Errorf("got %s, %s", cert, key)
	}
	c.DPServer.TLSCertFile, c.DPServer.TLSKeyFile = "c", "d"
	if cert, key := c.TLSPair(); cert != "c" || key != "d" {
		t.Errorf("got %s, %s", cert, key)
	}
}
