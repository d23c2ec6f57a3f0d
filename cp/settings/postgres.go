package settings

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"koguma/policy"
	"koguma/store"
)

// storePatience is how long a control plane that starts waits for a Postgres that is away. Whoever started it may try again.
const storePatience = 30 * time.Second

// PostgresStoreConfig is for the store in a Postgres, which several control planes may share.
type PostgresStoreConfig struct {
	// Host is a name, an address, or the folder of a unix socket. Several have commas between them.
	Host     string         `json:"host" env:"KUMA_STORE_POSTGRES_HOST"`
	Port     Ports          `json:"port" env:"KUMA_STORE_POSTGRES_PORT"`
	User     string         `json:"user" env:"KUMA_STORE_POSTGRES_USER"`
	Password store.Password `json:"password" env:"KUMA_STORE_POSTGRES_PASSWORD"`
	DBName   string         `json:"dbName" env:"KUMA_STORE_POSTGRES_DB_NAME"`
	// DriverName is "pgx"; there is no other.
	DriverName string `json:"driverName" env:"KUMA_STORE_POSTGRES_DRIVER_NAME"`
	// ConnectionTimeout is in seconds.
	ConnectionTimeout  int `json:"connectionTimeout" env:"KUMA_STORE_POSTGRES_CONNECTION_TIMEOUT"`
	MinOpenConnections int `json:"minOpenConnections" env:"KUMA_STORE_POSTGRES_MIN_OPEN_CONNECTIONS"`
	MaxOpenConnections int `json:"maxOpenConnections" env:"KUMA_STORE_POSTGRES_MAX_OPEN_CONNECTIONS"`
	// MaxIdleConnections has no effect: idle ones end by their time.
	MaxIdleConnections          int               `json:"maxIdleConnections" env:"KUMA_STORE_POSTGRES_MAX_IDLE_CONNECTIONS"`
	MaxConnectionIdleTime       policy.Duration   `json:"maxConnectionIdleTime" env:"KUMA_STORE_POSTGRES_MAX_CONNECTION_IDLE_TIME"`
	MaxConnectionLifetime       policy.Duration   `json:"maxConnectionLifetime" env:"KUMA_STORE_POSTGRES_MAX_CONNECTION_LIFETIME"`
	MaxConnectionLifetimeJitter policy.Duration   `json:"maxConnectionLifetimeJitter" env:"KUMA_STORE_POSTGRES_MAX_CONNECTION_LIFETIME_JITTER"`
	HealthCheckInterval         policy.Duration   `json:"healthCheckInterval" env:"KUMA_STORE_POSTGRES_HEALTH_CHECK_INTERVAL"`
	TLS                         PostgresTLSConfig `json:"tls"`
}

// PostgresTLSConfig says how the connections to Postgres are secured.
type PostgresTLSConfig struct {
	// Mode is "disable", "verifyNone", "verifyCa" or "verifyFull".
	Mode string `json:"mode" env:"KUMA_STORE_POSTGRES_TLS_MODE"`
	// CertPath and KeyPath are what Postgres is shown; CAPath is what its certificate has to come from.
	CertPath string `json:"certPath" env:"KUMA_STORE_POSTGRES_TLS_CERT_PATH"`
	KeyPath  string `json:"keyPath" env:"KUMA_STORE_POSTGRES_TLS_KEY_PATH"`
	CAPath   string `json:"caPath" env:"KUMA_STORE_POSTGRES_TLS_CA_PATH"`
}

func defaultPostgres() PostgresStoreConfig {
	return PostgresStoreConfig{
		Host: "127.0.0.1", Port: "15432", User: "kuma", Password: "kuma", DBName: "kuma", DriverName: "pgx",
		ConnectionTimeout: 5, MaxOpenConnections: 50, MaxIdleConnections: 50,
		MaxConnectionIdleTime:       policy.Duration(30 * time.Minute),
		MaxConnectionLifetime:       policy.Duration(time.Hour),
		MaxConnectionLifetimeJitter: policy.Duration(time.Minute),
		HealthCheckInterval:         policy.Duration(30 * time.Second),
		TLS:                         PostgresTLSConfig{Mode: store.TLSDisable},
	}
}

// validatePostgres reports the first setting of the store in a Postgres that cannot be obeyed, if that is the one in use.
func (c *Config) validatePostgres() error {
	if c.Store.Type != StorePostgres {
		return nil
	}
	return c.Store.Postgres.validate()
}

func (p *PostgresStoreConfig) validate() error {
	modes := []string{store.TLSDisable, store.TLSVerifyNone, store.TLSVerifyCA, store.TLSVerifyFull}
	t := p.TLS
	hosts, err := p.hosts()
	if err != nil {
		return err
	}
	onMachine := slices.ContainsFunc(hosts, func(h store.PostgresHost) bool { return strings.HasPrefix(h.Name, "/") })
	var key, fault string
	switch {
	case p.User == "":
		key, fault = "user", "not set; set KUMA_STORE_POSTGRES_USER"
	case p.DBName == "":
		key, fault = "dbName", "not set; set KUMA_STORE_POSTGRES_DB_NAME"
	case p.DriverName != "pgx":
		key, fault = "driverName", fmt.Sprintf("%q is not known; use pgx", p.DriverName)
	case p.ConnectionTimeout < 1 || p.ConnectionTimeout > 3600:
		key, fault = "connectionTimeout", fmt.Sprintf("%d is no number of seconds from 1 to 3600", p.ConnectionTimeout)
	case p.MaxOpenConnections < 1 || p.MaxOpenConnections > 10000:
		key, fault = "maxOpenConnections", fmt.Sprintf("%d is not from 1 to 10000", p.MaxOpenConnections)
	case p.MinOpenConnections < 0 || p.MinOpenConnections > p.MaxOpenConnections:
		key, fault = "minOpenConnections", fmt.Sprintf("%d is not from 0 to maxOpenConnections, %d", p.MinOpenConnections, p.MaxOpenConnections)
	case p.HealthCheckInterval <= 0:
		key, fault = "healthCheckInterval", "must be more than 0"
	case !slices.Contains(modes, t.Mode):
		key, fault = "tls.mode", fmt.Sprintf("%q is not known; set KUMA_STORE_POSTGRES_TLS_MODE to %s", t.Mode, strings.Join(modes, ", "))
	case (t.CertPath == "") != (t.KeyPath == ""):
		key, fault = "tls", "certPath and keyPath go together; set KUMA_STORE_POSTGRES_TLS_CERT_PATH and KUMA_STORE_POSTGRES_TLS_KEY_PATH, or neither"
	case (t.Mode == store.TLSVerifyCA || t.Mode == store.TLSVerifyFull) && t.CAPath == "":
		key, fault = "tls.caPath", "not set, and "+t.Mode+" needs it; set KUMA_STORE_POSTGRES_TLS_CA_PATH"
	case t.Mode == store.TLSDisable && t.CertPath+t.CAPath != "":
		key, fault = "tls.mode", "is disable, so that caPath, certPath and keyPath have no effect; set KUMA_STORE_POSTGRES_TLS_MODE to verifyFull"
	case t.Mode != store.TLSDisable && onMachine:
		key, fault = "tls.mode", "there is no TLS over a unix socket; set KUMA_STORE_POSTGRES_TLS_MODE to disable"
	default:
		return nil
	}
	return fmt.Errorf("store.postgres.%s: %s", key, fault)
}

// open reports whether what is sent to Postgres can be read on the way.
func (p *PostgresStoreConfig) open() bool {
	hosts, _ := p.hosts() // validated
	away := func(h store.PostgresHost) bool {
		a, err := netip.ParseAddr(h.Name)
		return !strings.HasPrefix(h.Name, "/") && h.Name != "localhost" && (err != nil || !a.IsLoopback())
	}
	return p.TLS.Mode == store.TLSDisable && slices.ContainsFunc(hosts, away)
}

// Warnings are what the operator should know of settings that are obeyed. They are fit for anybody.
func (c *Config) Warnings() []string { return append(c.authnWarnings(), c.storeWarnings()...) }

// storeWarnings are about a store that works, and should not be used like this.
func (c *Config) storeWarnings() []string {
	if c.Store.Type == StorePostgres && c.Store.Postgres.open() {
		return []string{"store.postgres.tls.mode is disable: keys and passwords go over the network in plain text; " +
			"set KUMA_STORE_POSTGRES_TLS_MODE to verifyFull"}
	}
	return nil
}

// Migrate brings the schema of the Postgres that holds the store up to what this program needs, and returns the versions
// before and after; 0 is an empty database. A store of another type is an error.
func Migrate(ctx context.Context, cfg Config) (from, to int, err error) {
	if cfg.Store.Type != StorePostgres {
		return 0, 0, fmt.Errorf("store.type: it is %s, which has no schema; for Postgres set KUMA_STORE_TYPE=postgres", cfg.Store.Type)
	}
	return store.Migrate(ctx, cfg.postgres())
}

// postgres is the configuration as the store takes it.
func (c *Config) postgres() store.PostgresConfig {
	p := &c.Store.Postgres
	hosts, _ := p.hosts() // validated
	return store.PostgresConfig{
		Hosts: hosts, User: p.User, Password: p.Password, Database: p.DBName,
		TLSMode: p.TLS.Mode, CAFile: p.TLS.CAPath, CertFile: p.TLS.CertPath, KeyFile: p.TLS.KeyPath,
		MinConns: p.MinOpenConnections, MaxConns: p.MaxOpenConnections,
		ConnectTimeout:        time.Duration(p.ConnectionTimeout) * time.Second,
		MaxConnIdleTime:       p.MaxConnectionIdleTime.Std(),
		MaxConnLifetime:       p.MaxConnectionLifetime.Std(),
		MaxConnLifetimeJitter: p.MaxConnectionLifetimeJitter.Std(),
		HealthCheckInterval:   p.HealthCheckInterval.Std(),
		Patience:              storePatience,
		Log:                   c.Logger(),
	}
}
