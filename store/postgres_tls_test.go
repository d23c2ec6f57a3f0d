package store_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"koguma/store"
	"koguma/testenv"
)

func newCA(t *testing.T, name string) *testenv.CA {
	t.Helper()
	ca, err := testenv.NewCA(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// pair is the PEM of a certificate for a name, and of its key.
func pair(t *testing.T, name string, by *testenv.CA) (cert, key string) {
	t.Helper()
	host, err := testenv.NewHost(name, by)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = host.KeyPEM(); err != nil {
		t.Fatal(err)
	}
	return host.CertPEM(), key
}

// file is the path of a file with this in it.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startSecurePostgres is a server with a certificate of ca for its address. It takes no connection without TLS, into the
// database kuma1 none without a client certificate of ca, and into the others none without the password.
func startSecurePostgres(t *testing.T, ca *testenv.CA) *testenv.Postgres {
	t.Helper()
	p, err := testenv.NewPostgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	cert, key := pair(t, p.Host, ca)
	for name, content := range map[string]string{"data/server.crt": cert, "data/server.key": key, "data/ca.crt": ca.RootPEM()} {
		if err := p.File(name, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Permit("hostssl kuma1 kuma all cert", "hostssl all kuma all scram-sha-256"); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context(), "ssl=on", "ssl_ca_file=ca.crt"); err != nil {
		t.Fatal(err)
	}
	return p
}

// secured is a way to open a store, and what has to come of it.
type secured struct {
	mode, ca  string
	elsewhere bool      // at an address that is not in the server's certificate
	client    [2]string // files of its certificate and key; none: the password
	want      string    // of the error
}

// secureWays is each mode with what is right and what is wrong.
func secureWays(t *testing.T, ca, other *testenv.CA) []secured {
	right, wrong := file(t, ca.RootPEM()), file(t, other.RootPEM())
	client := func(name string, by *testenv.CA) [2]string {
		cert, key := pair(t, name, by)
		return [2]string{file(t, cert), file(t, key)}
	}
	kuma, stranger, forged := client("kuma", ca), client("stranger", ca), client("kuma", other)
	return []secured{
		{mode: store.TLSDisable, want: "no pg_hba.conf entry"},
		{mode: store.TLSVerifyNone},
		{mode: store.TLSVerifyNone, elsewhere: true},
		{mode: store.TLSVerifyCA, ca: right},
		{mode: store.TLSVerifyCA, ca: right, elsewhere: true},
		{mode: store.TLSVerifyCA, ca: wrong, want: "unknown authority"},
		{mode: store.TLSVerifyCA, ca: "nowhere.pem", want: "nowhere.pem"},
		{mode: store.TLSVerifyCA, ca: kuma[1], want: "no certificate in PEM"},
		{mode: store.TLSVerifyFull, ca: right},
		{mode: store.TLSVerifyFull, ca: right, elsewhere: true, want: "not 127.0.0.1"},
		{mode: store.TLSVerifyFull, ca: wrong, want: "unknown authority"},

		{mode: store.TLSVerifyFull, ca: right, client: kuma},
		{mode: store.TLSVerifyCA, ca: right, client: kuma},
		{mode: store.TLSVerifyNone, client: kuma},
		{mode: store.TLSVerifyFull, ca: right, client: stranger, want: "certificate authentication failed"},
		{mode: store.TLSVerifyFull, ca: right, client: forged, want: "valid client certificate"},
		{mode: store.TLSVerifyFull, ca: right, client: [2]string{kuma[0], stranger[1]}, want: "does not match"},
		{mode: store.TLSVerifyFull, ca: right, client: [2]string{kuma[0], "nowhere.key"}, want: "nowhere.key"},
		{mode: store.TLSVerifyFull, ca: wrong, client: kuma, want: "unknown authority"},
	}
}

// Each mode lets through what it says, and nothing else.
func TestPostgresTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "ca")
	p := startSecurePostgres(t, ca)
	way := newWire(t, net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
	var byCertificate, byPassword store.PostgresConfig
	for _, cfg := range []*store.PostgresConfig{&byCertificate, &byPassword} {
		var err error
		if *cfg, err = p.NewDatabase(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	byCertificate.Password = ""
	for _, tt := range secureWays(t, ca, newCA(t, "other")) {
		cfg := byPassword
		if tt.client[0] != "" {
			cfg = byCertificate
		}
		cfg.TLSMode, cfg.CAFile, cfg.CertFile, cfg.KeyFile = tt.mode, tt.ca, tt.client[0], tt.client[1]
		if tt.elsewhere {
			cfg.Hosts = []store.PostgresHost{{Name: "127.0.0.1", Port: way.port()}}
		}
		_, _, err := store.Migrate(t.Context(), cfg)
		if err == nil {
			var s store.Store
			if s, err = store.OpenPostgres(context.WithoutCancel(t.Context()), cfg); err == nil {
				put(t, s, proxy(0, "1"))
				closeStore(t, s)
			}
		}
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%+v: got error %v", tt, err)
		case err != nil && strings.Contains(err.Error(), testenv.PostgresPassword):
			t.Errorf("%+v: the error has the password: %v", tt, err)
		}
	}

	// The name of a host is its own, and not that of the one before it.
	closed, err := testenv.FreePorts(p.Host, 1)
	if err != nil {
		t.Fatal(err)
	}
	several := byPassword
	several.TLSMode, several.CAFile = store.TLSVerifyFull, file(t, ca.RootPEM())
	several.Hosts = []store.PostgresHost{{Name: p.Host, Port: closed[0]}, {Name: "127.0.0.1", Port: way.port()}}
	notOpened(t, several, "not 127.0.0.1")
	several.Hosts = append(several.Hosts, byPassword.Hosts...)
	closeStore(t, openPostgres(t, several))

	byCertificate.TLSMode = store.TLSVerifyNone
	notOpened(t, byCertificate, "client certificate")
	byPassword.TLSMode, byPassword.Password = store.TLSVerifyNone, "wrong-password"
	if err := notOpened(t, byPassword, "password authentication failed"); strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("the error has the password: %v", err)
	}
}

// A connection under TLS is kept for as long as it is good. A client certificate that is replaced is taken up by the next one.
func TestPostgresKeepsConnections(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "ca")
	p := startSecurePostgres(t, ca)
	var log lines
	cfg := newDatabaseWith(t, p, func(cfg *store.PostgresConfig) {
		cert, key := pair(t, "kuma", ca)
		cfg.TLSMode, cfg.CAFile, cfg.CertFile, cfg.KeyFile = store.TLSVerifyFull, file(t, ca.RootPEM()), file(t, cert), file(t, key)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	s := openPostgres(t, cfg)
	defer closeStore(t, s)
	w := follow(t, s)
	put(t, s, proxy(0, "1"), proxy(1, "1"), proxy(2, "1"))
	w.until(name(0), name(1), name(2))
	deleteUnheard(t, p, cfg.Database, name(0))
	w.until(name(1), name(2))
	deleteUnheard(t, p, cfg.Database, name(1))
	w.until(name(2))
	if text := log.String(); text != "" {
		t.Errorf("a connection was lost: %s", text)
	}

	cert, key := pair(t, "stranger", ca)
	for path, content := range map[string]string{cfg.CertFile: cert, cfg.KeyFile: key} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	execSQL(t, p, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'koguma'")
	eventually(t, "the store to be shut out", faulty(s, "certificate authentication failed"))
	if text := log.String(); !strings.Contains(text, "the store does not answer") {
		t.Errorf("the log does not say so: %q", text)
	}
}

// lines is a log that others write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
