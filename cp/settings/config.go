// Package settings is what a control plane is told: by a YAML file, by the environment, and by the defaults.
//
// A setting that cannot be obeyed is an error that names it, and so is one that is not known. Whoever has a [Config] from
// [Load] need not look for faults in it. The store that it names is opened here too.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"koguma/policy"
)

// Config is what a control plane is told. Each setting has a key in the YAML file and the environment variable that
// its env tag names; [Load] reads both. A server's port of 0 lets the kernel choose.
type Config struct {
	// Environment is where the proxies run. Only "universal" is known.
	Environment string `json:"environment" env:"KUMA_ENVIRONMENT"`
	// Mode is "zone", or "standalone", the old word for it.
	Mode string `json:"mode" env:"KUMA_MODE"`

	General         GeneralConfig         `json:"general"`
	Store           StoreConfig           `json:"store"`
	APIServer       APIServerConfig       `json:"apiServer"`
	DPServer        DPServerConfig        `json:"dpServer"`
	XDSServer       XDSServerConfig       `json:"xdsServer"`
	BootstrapServer BootstrapServerConfig `json:"bootstrapServer"`
	AdminServer     AdminServerConfig     `json:"adminServer"`
	InterCP         InterCPConfig         `json:"interCp"`
	Diagnostics     DiagnosticsConfig     `json:"diagnostics"`
	Defaults        DefaultsConfig        `json:"defaults"`

	// Log is where the control plane logs; nil is [slog.Default].
	Log *slog.Logger `json:"-"`
}

// GeneralConfig is what several parts of the control plane share.
type GeneralConfig struct {
	// WorkDir is the folder for what the control plane keeps; "" is $HOME/.kuma.
	WorkDir string `json:"workDir" env:"KUMA_GENERAL_WORK_DIR"`
	// TLSCertFile and TLSKeyFile are the pair of every TLS server that has none of its own. Without any, the
	// control plane issues itself a certificate from the CA in its store.
	TLSCertFile string `json:"tlsCertFile" env:"KUMA_GENERAL_TLS_CERT_FILE"`
	TLSKeyFile  string `json:"tlsKeyFile" env:"KUMA_GENERAL_TLS_KEY_FILE"`
	// AdvertisedHostname is the host at which data plane proxies reach this control plane; "" is the one that the
	// asking client used.
	AdvertisedHostname string `json:"advertisedHostname" env:"KUMA_GENERAL_ADVERTISED_HOSTNAME"`
}

// The types of stores.
const (
	StoreFile     = "file"
	StoreMemory   = "memory"
	StorePostgres = "postgres"
)

// StoreConfig says where resources are kept.
type StoreConfig struct {
	Type     string              `json:"type" env:"KUMA_STORE_TYPE"`
	File     FileStoreConfig     `json:"file"`
	Postgres PostgresStoreConfig `json:"postgres"`

	Encryption EncryptionConfig `json:"encryption"`
}

// FileStoreConfig is for the store in one file.
type FileStoreConfig struct {
	// Path is the file; "" is koguma.db in the work directory.
	Path string `json:"path" env:"KUMA_STORE_FILE_PATH"`
}

// APIServerConfig is for the API that kumactl talks to.
type APIServerConfig struct {
	HTTP  HTTPConfig           `json:"http"`
	HTTPS HTTPSConfig          `json:"https"`
	Auth  APIServerAuthConfig  `json:"auth"`
	Authn APIServerAuthnConfig `json:"authn"`
	GUI   GUIConfig            `json:"gui"`
	// ReadOnly refuses all writes, and still issues tokens.
	ReadOnly bool `json:"readOnly" env:"KUMA_API_SERVER_READ_ONLY"`
}

// HTTPConfig is for the API in plain HTTP.
type HTTPConfig struct {
	Enabled   bool   `json:"enabled" env:"KUMA_API_SERVER_HTTP_ENABLED"`
	Interface string `json:"interface" env:"KUMA_API_SERVER_HTTP_INTERFACE"`
	Port      int    `json:"port" env:"KUMA_API_SERVER_HTTP_PORT"`
}

// DPServerConfig is for the server that data plane proxies connect to.
type DPServerConfig struct {
	Interface string `json:"interface" env:"KUMA_DP_SERVER_INTERFACE"`
	Port      int    `json:"port" env:"KUMA_DP_SERVER_PORT"`
	// TLSCertFile and TLSKeyFile replace those of GeneralConfig.
	TLSCertFile string            `json:"tlsCertFile" env:"KUMA_DP_SERVER_TLS_CERT_FILE"`
	TLSKeyFile  string            `json:"tlsKeyFile" env:"KUMA_DP_SERVER_TLS_KEY_FILE"`
	Authn       DPServerAuthnConf `json:"authn"`
	Auth        DPServerAuthConf  `json:"auth"` // the old name of Authn
}

// XDSServerConfig is for the discovery service.
type XDSServerConfig struct {
	// DataplaneDeregistrationDelay is how long a Dataplane stays when its proxy is gone without a word.
	DataplaneDeregistrationDelay policy.Duration `json:"dataplaneDeregistrationDelay" env:"KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY"`
}

// BootstrapServerConfig is for what Envoys are started with.
type BootstrapServerConfig struct {
	Params BootstrapParamsConfig `json:"params"`
}

// BootstrapParamsConfig says where an Envoy finds the control plane.
type BootstrapParamsConfig struct {
	XDSHost string `json:"xdsHost" env:"KUMA_BOOTSTRAP_SERVER_PARAMS_XDS_HOST"` // "" is the host of the request
	XDSPort int    `json:"xdsPort" env:"KUMA_BOOTSTRAP_SERVER_PARAMS_XDS_PORT"` // 0 is that of the DP server
}

// DiagnosticsConfig is for health and metrics.
type DiagnosticsConfig struct {
	Interface  string `json:"interface" env:"KUMA_DIAGNOSTICS_INTERFACE"`
	ServerPort int    `json:"serverPort" env:"KUMA_DIAGNOSTICS_SERVER_PORT"`
}

// DefaultsConfig says what is made at the first start.
type DefaultsConfig struct {
	SkipMeshCreation bool `json:"skipMeshCreation" env:"KUMA_DEFAULTS_SKIP_MESH_CREATION"`
}

// Default is the configuration where nothing is said.
func Default() Config {
	return Config{
		Environment: "universal",
		Mode:        "zone",
		Store:       StoreConfig{Type: StoreFile, Postgres: defaultPostgres()},
		APIServer: APIServerConfig{
			HTTP:  HTTPConfig{Enabled: true, Interface: "127.0.0.1", Port: 5681},
			HTTPS: HTTPSConfig{Interface: "0.0.0.0", Port: 5682},
			Authn: APIServerAuthnConfig{Type: AuthnClientCerts, LocalhostIsAdmin: true},
			GUI:   GUIConfig{Enabled: true},
		},
		DPServer: DPServerConfig{
			Interface: "0.0.0.0",
			Port:      5678,
			Authn: DPServerAuthnConf{DPProxy: DPProxyAuthnConf{DPToken: DPTokenConf{
				EnableIssuer: true,
				Validator:    DPTokenValidatorConf{UseSecrets: true, PublicKeys: []PublicKeyConf{}},
			}}},
		},
		AdminServer: AdminServerConfig{
			APIs:  AdminAPIsConfig{DataplaneToken: DataplaneTokenAPIConfig{Enabled: true}},
			Local: AdminLocalConfig{Port: 5679},
		},
		InterCP:     defaultInterCP(),
		XDSServer:   XDSServerConfig{DataplaneDeregistrationDelay: policy.Duration(10e9)},
		Diagnostics: DiagnosticsConfig{Interface: "127.0.0.1", ServerPort: 5680},
	}
}

// Load is the configuration from the environment, which goes over the file, which goes over the defaults. An empty
// file name is no file. A key or a KUMA_ variable that is not known is an error. The result is validated, and its
// paths are filled in.
func Load(file string, environ []string) (Config, error) {
	c := Default()
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("config file: %w", err)
		}
		if err := policy.Decode(data, &c); err != nil {
			return Config{}, fmt.Errorf("config file %s: %w", file, err)
		}
	}
	env := parseEnviron(environ)
	if err := applyEnv(&c, env); err != nil {
		return Config{}, err
	}
	if c.General.WorkDir == "" && env["HOME"] != "" {
		c.General.WorkDir = filepath.Join(env["HOME"], ".kuma")
	}
	if c.Store.File.Path == "" && c.General.WorkDir != "" {
		c.Store.File.Path = filepath.Join(c.General.WorkDir, "koguma.db")
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	c.DPServer.Authn.DPProxy.Type = c.AuthnType()
	return c, nil
}

// TLSPair names the files of the certificate and the key of the DP server; both are empty if there are none.
func (c *Config) TLSPair() (cert, key string) {
	if c.DPServer.TLSCertFile != "" {
		return c.DPServer.TLSCertFile, c.DPServer.TLSKeyFile
	}
	return c.General.TLSCertFile, c.General.TLSKeyFile
}

// Logger is where to log, whether or not the configuration says so.
func (c *Config) Logger() *slog.Logger {
	return cmp.Or(c.Log, slog.Default())
}

// Validate reports the first setting that cannot be obeyed, by the key it has in the file.
func (c *Config) Validate() error {
	switch {
	case c.Environment != "universal":
		return fmt.Errorf("environment: %q is not known; use universal", c.Environment)
	case c.Mode != "zone" && c.Mode != "standalone":
		return fmt.Errorf("mode: %q is not known; use zone", c.Mode)
	case c.Store.Type != StoreFile && c.Store.Type != StoreMemory && c.Store.Type != StorePostgres:
		return fmt.Errorf("store.type: %q is not known; use file, postgres or memory", c.Store.Type)
	case c.Store.Type == StoreFile && c.Store.File.Path == "":
		return errors.New("store.file.path: not set, and neither is HOME; set KUMA_GENERAL_WORK_DIR")
	case (c.General.TLSCertFile == "") != (c.General.TLSKeyFile == ""):
		return errors.New("general: tlsCertFile and tlsKeyFile go together; set both or neither")
	case (c.DPServer.TLSCertFile == "") != (c.DPServer.TLSKeyFile == ""):
		return errors.New("dpServer: tlsCertFile and tlsKeyFile go together; set both or neither")
	case c.XDSServer.DataplaneDeregistrationDelay < 0:
		return errors.New("xdsServer.dataplaneDeregistrationDelay: must not be negative")
	}
	return cmp.Or(
		c.validatePostgres(),
		c.validateAuthn(),
		c.validateRemote(),
		validAddress("apiServer.http", "port", c.APIServer.HTTP.Interface, c.APIServer.HTTP.Port),
		validAddress("dpServer", "port", c.DPServer.Interface, c.DPServer.Port),
		validAddress("diagnostics", "serverPort", c.Diagnostics.Interface, c.Diagnostics.ServerPort),
		c.InterCP.validate(),
		validPort("bootstrapServer.params.xdsPort", c.BootstrapServer.Params.XDSPort),
		validPort("adminServer.local.port", c.AdminServer.Local.Port),
	)
}

func validAddress(section, portKey, ip string, port int) error {
	if _, err := netip.ParseAddr(ip); err != nil {
		return fmt.Errorf("%s.interface: %q is no IP address; use 127.0.0.1 for this machine only, 0.0.0.0 for all", section, ip)
	}
	return validPort(section+"."+portKey, port)
}

func validPort(key string, port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("%s: %d is no port; use 0 to 65535", key, port)
	}
	return nil
}
