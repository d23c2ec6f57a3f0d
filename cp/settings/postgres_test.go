package settings_test

import (
	"strings"
	"testing"
	"time"

	"koguma/cp/settings"
	"koguma/policy"
)

// The settings of Postgres have the names and defaults that people know.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	c, err := settings.Load("", []string{
		"KUMA_STORE_TYPE=postgres", "KUMA_STORE_POSTGRES_HOST=db.internal", "KUMA_STORE_POSTGRES_PORT=5432", "KUMA_STORE_POSTGRES_USER=me",
		"KUMA_STORE_POSTGRES_PASSWORD=let me in", "KUMA_STORE_POSTGRES_DB_NAME=mesh", "KUMA_STORE_POSTGRES_CONNECTION_TIMEOUT=7",
		"KUMA_STORE_POSTGRES_MIN_OPEN_CONNECTIONS=1", "KUMA_STORE_POSTGRES_MAX_OPEN_CONNECTIONS=9", "KUMA_STORE_POSTGRES_MAX_CONNECTION_LIFETIME=2h",
		"KUMA_STORE_POSTGRES_TLS_MODE=verifyFull", "KUMA_STORE_POSTGRES_TLS_CA_PATH=/ca", "KUMA_STORE_POSTGRES_TLS_CERT_PATH=/cert",
		"KUMA_STORE_POSTGRES_TLS_KEY_PATH=/key",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := settings.Default().Store.Postgres
	if p.Host != "127.0.0.1" || p.Port != "15432" || p.User != "kuma" || p.Password != "kuma" || p.DBName != "kuma" || p.TLS.Mode != "disable" ||
		p.ConnectionTimeout != 5 || p.MaxOpenConnections != 50 || p.MaxConnectionLifetime.Std() != time.Hour {
		t.Errorf("the defaults are %+v", p)
	}
	p.Host, p.Port, p.User, p.Password, p.DBName, p.ConnectionTimeout = "db.internal", "5432", "me", "let me in", "mesh", 7
	p.MinOpenConnections, p.MaxOpenConnections, p.MaxConnectionLifetime = 1, 9, policy.Duration(2*time.Hour)
	p.TLS = settings.PostgresTLSConfig{Mode: "verifyFull", CAPath: "/ca", CertPath: "/cert", KeyPath: "/key"}
	if c.Store.Postgres != p {
		t.Errorf("got %+v, want %+v", c.Store.Postgres, p)
	}
	data, err := policy.Encode(c)
	if err != nil || strings.Contains(string(data), "let me in") || !strings.Contains(string(data), `"port":5432,"user":"me","password":"*****"`) {
		t.Errorf("it is shown as %s, %v", data, err)
	}
}

// What cannot be obeyed is an error that says what to set, and only where Postgres is used.
func TestPostgresSettingsRefused(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"HOST=/run/postgresql KUMA_STORE_POSTGRES_TLS_MODE=verifyNone": "set KUMA_STORE_POSTGRES_TLS_MODE to disable",
		"PORT=70000": `store.postgres.port: "70000" is no port`,
		"PORT=x":     `store.postgres.port: "x" is no port`,
		"PORT=5432,": "store.postgres.port: there are 2 for 1 hosts",
		"PORT=1,2,3": "store.postgres.port: there are 3 for 1 hosts",
		"HOST=a,":    "store.postgres.host: a name between the commas is missing",
		"HOST=a,/run/postgresql KUMA_STORE_POSTGRES_TLS_MODE=verifyNone": "no TLS over a unix socket",
		"DRIVER_NAME=postgres":       "use pgx",
		"CONNECTION_TIMEOUT=5s":      "KUMA_STORE_POSTGRES_CONNECTION_TIMEOUT",
		"CONNECTION_TIMEOUT=0":       "store.postgres.connectionTimeout",
		"MAX_OPEN_CONNECTIONS=0":     "store.postgres.maxOpenConnections",
		"MIN_OPEN_CONNECTIONS=51":    "store.postgres.minOpenConnections",
		"HEALTH_CHECK_INTERVAL=0":    "store.postgres.healthCheckInterval",
		"TLS_MODE=verify-full":       "set KUMA_STORE_POSTGRES_TLS_MODE to disable, verifyNone, verifyCa, verifyFull",
		"TLS_MODE=verifyCa":          "set KUMA_STORE_POSTGRES_TLS_CA_PATH",
		"TLS_MODE=verifyFull":        "set KUMA_STORE_POSTGRES_TLS_CA_PATH",
		"TLS_CA_PATH=/ca":            "set KUMA_STORE_POSTGRES_TLS_MODE to verifyFull",
		"TLS_CERT_PATH=/cert":        "set KUMA_STORE_POSTGRES_TLS_CERT_PATH and KUMA_STORE_POSTGRES_TLS_KEY_PATH",
		"TLS_KEY_PATH=/key":          "set KUMA_STORE_POSTGRES_TLS_CERT_PATH and KUMA_STORE_POSTGRES_TLS_KEY_PATH",
		"TLS_ROOT_CERT_PATH=/ca":     "no such setting",
		"PASSWORD_FILE=/etc/passwrd": "no such setting",
	} {
		env := append([]string{"HOME=/h", "KUMA_STORE_TYPE=postgres"}, strings.Fields("KUMA_STORE_POSTGRES_"+setting)...)
		if _, err := settings.Load("", env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want it to say %q", setting, err, want)
		}
	}
	if _, err := settings.Load("", []string{"HOME=/h", "KUMA_STORE_POSTGRES_TLS_MODE=verifyFull"}); err != nil {
		t.Errorf("in a file, Postgres without a CA is an error: %v", err)
	}
}

// Secrets that go over the network in plain text are worth a warning.
func TestPostgresInPlaintext(t *testing.T) {
	t.Parallel()
	for host, warned := range map[string]bool{
		"db.internal": true, "192.0.2.1": true, "2001:db8::1": true, "localhost.example.com": true, "127.0.0.1,192.0.2.1": true,
		"localhost": false, "127.0.0.1": false, "127.9.9.9": false, "::1": false, "/run/postgresql": false, "127.0.0.1,localhost": false,
	} {
		c := settings.Default()
		c.Store.Type, c.Store.Postgres.Host = settings.StorePostgres, host
		warnings := strings.Join(c.Warnings(), " ")
		if got := strings.Contains(warnings, "set KUMA_STORE_POSTGRES_TLS_MODE to verifyFull"); got != warned {
			t.Errorf("%s: the warnings are %q", host, warnings)
		}
		c.Store.Postgres.TLS = settings.PostgresTLSConfig{Mode: "verifyNone"}
		if got := c.Warnings(); len(got) > 0 {
			t.Errorf("%s with TLS: the warnings are %q", host, got)
		}
	}
}
