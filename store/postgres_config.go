package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How a connection to Postgres is secured.
const (
	TLSDisable    = "disable"    // not at all
	TLSVerifyNone = "verifyNone" // against those who only listen: whoever answers is believed
	TLSVerifyCA   = "verifyCa"   // the server's certificate has to come from the CA
	TLSVerifyFull = "verifyFull" // and to be for the host that was dialled
)

// Password prints, logs and marshals as asterisks.
type Password string

const hiddenPassword = "*****"

// String implements [fmt.Stringer].
func (Password) String() string { return hiddenPassword }

// Format implements [fmt.Formatter]: whatever the verb, the password stays hidden.
func (Password) Format(s fmt.State, _ rune) { io.WriteString(s, hiddenPassword) }

// LogValue implements [slog.LogValuer].
func (Password) LogValue() slog.Value { return slog.StringValue(hiddenPassword) }

// MarshalText implements [encoding.TextMarshaler].
func (Password) MarshalText() ([]byte, error) { return []byte(hiddenPassword), nil }

// PostgresHost is where a server listens.
type PostgresHost struct {
	Name string // a name, an address, or the folder of a unix socket, which begins with a slash
	Port int
}

// PostgresConfig says where a Postgres is and how to talk to it. Neither the environment nor a password file of libpq is
// asked.
type PostgresConfig struct {
	Hosts    []PostgresHost // which are tried in turn, until one takes writes
	User     string
	Password Password
	Database string

	// TLSMode is one of those above. The files are read anew for each connection. CertFile and KeyFile are what the server
	// is shown, both or neither; CAFile is for TLSVerifyCA and TLSVerifyFull.
	TLSMode                   string
	CAFile, CertFile, KeyFile string

	MinConns, MaxConns    int           // of the pool; one more may be there to listen
	ConnectTimeout        time.Duration // until one has to be there, whichever host it is to
	MaxConnIdleTime       time.Duration
	MaxConnLifetime       time.Duration
	MaxConnLifetimeJitter time.Duration
	HealthCheckInterval   time.Duration

	// Patience is how long [OpenPostgres] waits for a Postgres that is away.
	Patience time.Duration

	// Keys seal what is secret in the database; nil: it is there in clear.
	Keys *Keys

	// Log hears when Postgres is away, and when it is back; nil is [slog.Default].
	Log *slog.Logger
}

// address is what messages call this Postgres.
func (c *PostgresConfig) address() string {
	var all []string
	for _, h := range c.Hosts {
		all = append(all, net.JoinHostPort(h.Name, strconv.Itoa(h.Port)))
	}
	return strings.Join(all, ",")
}

// connect is one connection.
func (c *PostgresConfig) connect(ctx context.Context) (*pgx.Conn, error) {
	p, err := c.pool()
	if err != nil {
		return nil, err
	}
	if err := c.secure(p.ConnConfig); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, p.ConnConfig)
	if err != nil {
		return nil, c.mistaken(fmt.Errorf("postgres: %w", err))
	}
	return conn, nil
}

// pool is the configuration as pgx takes it.
func (c *PostgresConfig) pool() (*pgxpool.Config, error) {
	p, err := pgxpool.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if len(c.Hosts) == 0 {
		return nil, errors.New("postgres: there is no host")
	}
	conn := p.ConnConfig
	conn.Host, conn.Port, conn.Fallbacks = c.Hosts[0].Name, uint16(c.Hosts[0].Port), nil
	for _, h := range c.Hosts[1:] {
		conn.Fallbacks = append(conn.Fallbacks, &pgconn.FallbackConfig{Host: h.Name, Port: uint16(h.Port)})
	}
	conn.User, conn.Password, conn.Database = c.User, string(c.Password), c.Database
	conn.ConnectTimeout = c.ConnectTimeout / time.Duration(len(c.Hosts)) // each host has its own
	conn.ValidateConnect = takesWrites
	limit := strconv.FormatInt(deadline.Milliseconds(), 10)
	conn.RuntimeParams = map[string]string{
		"application_name":  "koguma",
		"statement_timeout": limit,
		// Whoever stops in the middle of a commit must not hold up the others.
		"idle_in_transaction_session_timeout": limit,
	}
	p.MinConns, p.MaxConns = int32(c.MinConns), int32(c.MaxConns)
	p.MaxConnIdleTime, p.MaxConnLifetime, p.MaxConnLifetimeJitter = c.MaxConnIdleTime, c.MaxConnLifetime, c.MaxConnLifetimeJitter
	p.HealthCheckPeriod = c.HealthCheckInterval
	p.PingTimeout = deadline
	p.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error { return c.secure(conn) }
	return p, nil
}

// secure makes conn be as secure as TLSMode says.
func (c *PostgresConfig) secure(conn *pgx.ConnConfig) error {
	if c.TLSMode == TLSDisable {
		return nil
	}
	if slices.ContainsFunc(c.Hosts, func(h PostgresHost) bool { return strings.HasPrefix(h.Name, "/") }) {
		return errors.New("postgres: there is no TLS over a unix socket; use TLS mode disable")
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: conn.Host}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return fmt.Errorf("postgres: the client certificate %s with the key %s: %w", c.CertFile, c.KeyFile, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	switch c.TLSMode {
	case TLSVerifyNone:
		t.InsecureSkipVerify = true
	case TLSVerifyCA, TLSVerifyFull:
		roots, err := readRoots(c.CAFile)
		if err != nil {
			return err
		}
		t.RootCAs = roots
		if c.TLSMode == TLSVerifyCA {
			t.InsecureSkipVerify = true // of the name; the rest is verified here
			t.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s.PeerCertificates, roots) }
		}
	default:
		return fmt.Errorf("postgres: there is no TLS mode %q", c.TLSMode)
	}
	conn.TLSConfig = t
	for _, other := range conn.Fallbacks {
		other.TLSConfig = t.Clone()
		other.TLSConfig.ServerName = other.Host
	}
	return nil
}

func readRoots(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("postgres: the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("postgres: the CA: %s holds no certificate in PEM", file)
	}
	return roots, nil
}

// verifyChain verifies a server's certificate, whatever name it is for.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

func (c *PostgresConfig) logger() *slog.Logger { return cmp.Or(c.Log, slog.Default()) }

// sqlState is the code of an error that Postgres has answered with, "" for any other.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
